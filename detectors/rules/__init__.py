"""The rule engine, and the rule pack as data files in `data/`."""
