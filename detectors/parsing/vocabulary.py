"""Word lists as readable text."""


def vocabulary(text: str) -> frozenset[str]:
    """The words of `text`, split at white space."""
    return frozenset(text.split())
