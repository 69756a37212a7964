"""From transport bytes to calls: decode, redact, normalise, join."""
