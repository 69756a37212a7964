"""The composition root: configuration, daemon, command line, API."""
