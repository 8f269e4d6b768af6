"""Words for messages, in which features and outcomes may have names."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Named:
    """Things in a message that have a number, and a name where the reader gave one."""

    noun: str  # "feature" or "outcome"
    numbers: tuple[int, ...]

    def said(self, **names):
        """Write them: of many the first few."""
        known = names.get(f"{self.noun}s")
        if known is None:
            return listed(self.numbers, self.noun)
        # The name of a feature says what it is: "the mean of age".
        noun = "" if self.noun == "feature" else self.noun
        return listed([known[i] for i in self.numbers], noun)


@dataclass(frozen=True)
class Bound:
    """An entry of `lower` or `upper` in a message."""

    argument: str
    number: int

    def said(self, *, features=None, outcomes=None):
        """Write it: by its number only if the features have no names."""
        return (
            f"{self.argument}[{self.number}]" if features is None else f"its {self.argument} bound"
        )


@dataclass(frozen=True)
class Combination:
    """A linear combination of features in a message."""

    terms: tuple[tuple[float, int], ...]
    has_more: bool

    def said(self, *, features=None, outcomes=None):
        """Write the first few terms."""
        name = (lambda i: f"F[{i}]") if features is None else (lambda i: f"({features[i]})")
        terms = [f"{a:+.4g} {name(i)}" for a, i in self.terms]
        return " ".join(terms) + (" + ..." if self.has_more else "")


def combination(eta):
    """Return the combination eta'F for a message, its first few terms."""
    numbers = [int(i) for i in eta.nonzero()[0]]
    return Combination(tuple((float(eta[i]), i) for i in numbers[:6]), len(numbers) > 6)


def features(numbers):
    """Return some features for a message."""
    return Named("feature", tuple(int(i) for i in numbers))


@dataclass(frozen=True)
class Message:
    """A text with {} for each of the things in it, which are numbered or have names."""

    text: str
    things: tuple = ()

    def __str__(self):
        return self.said()

    def said(self, *, features=None, outcomes=None):
        """Write the message, with the names of features and outcomes where these are given."""
        things = [x.said(features=features, outcomes=outcomes) for x in self.things]
        return self.text.format(*things)
