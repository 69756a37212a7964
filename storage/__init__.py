"""The DuckDB trajectory store and the registry of baselines and lineage."""
