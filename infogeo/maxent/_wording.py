"""Words for the messages of the front ends."""

_PLURALS = {"class": "classes"}


def listed(items, noun=""):
    """Write the first few of a list of things, after their noun."""
    items = list(items)
    text = ", ".join(str(item) for item in items[:8]) + (", ..." if len(items) > 8 else "")
    if not noun:
        return text
    return f"{noun if len(items) == 1 else _PLURALS.get(noun, noun + 's')} {text}"


def combined(coefficients, names):
    """Write a linear combination of named things, the first few terms."""
    pairs = list(zip(coefficients, names, strict=True))
    terms = [f"{float(a):+.4g} ({name})" for a, name in pairs[:6]]
    return " ".join(terms) + (" + ..." if len(pairs) > 6 else "")


def apart(first, second):
    """Write two numbers with the digits that tell them apart, six at least."""
    for digits in range(6, 18):
        texts = f"{float(first):.{digits}g}", f"{float(second):.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts
