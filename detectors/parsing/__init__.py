"""Parsers for what tool calls carry: names, shell, SQL, Python, URLs, addresses."""
