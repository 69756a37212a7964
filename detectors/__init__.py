"""Labels, learned hazards, sequential tests and verdicts."""
