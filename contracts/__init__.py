"""Types, ports and errors that every stage shares."""
