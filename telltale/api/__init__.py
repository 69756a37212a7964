"""The HTTP API: one module per resource, and the application that joins them."""
