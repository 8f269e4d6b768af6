"""Words for the messages of the front ends."""

_PLURALS = {"class": "classes"}


def listed(items, noun=""):
    """Write the first few of a list of things, after their noun."""
    items = list(items)
    text = ", ".join(str(item) for item in items[:8]) + (", ..." if len(items) > 8 else "")
    if not noun:
        return text
    return f"{noun if len(items) == 1 else _PLURALS.get(noun, noun + 's')} {text}"
