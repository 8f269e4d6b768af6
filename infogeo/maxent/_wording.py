"""Words for messages, in which features, outcomes and classes may have names.

A solve knows things by their numbers and says what happened in a `Message`. `failure` makes the
error of it, with the names that the arguments have. Programs that know better names write the
message of the error anew: ``error.message.said(features=names)``.
"""

from dataclasses import dataclass

import numpy as np

from infogeo._array import names_along
from infogeo._status import SolveError

_PLURALS = {"class": "classes", "pass over the rows": "passes over the rows"}


def plural(noun):
    """Return the plural of a noun."""
    return _PLURALS.get(noun, noun + "s")


def listed(items, noun=""):
    """Write the first few of a list of things, after their noun."""
    items = list(items)
    text = ", ".join(str(item) for item in items[:8]) + (", ..." if len(items) > 8 else "")
    if not noun:
        return text
    return f"{noun if len(items) == 1 else plural(noun)} {text}"


def ran_out(steps, noun="step"):
    """Write that the steps, which a result has counted, were too few."""
    return f"The {steps} {noun if steps == 1 else plural(noun)} ran out"


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

    noun: str  # "feature", "outcome" or "class"
    numbers: tuple[int, ...]

    def said(self, **names):
        """Write them: of many the first few."""
        known = names.get(plural(self.noun))  # absent, or None, where there are none
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

    def said(self, **names):
        """Write it: by its number only if the features have no names."""
        return (
            f"its {self.argument} bound"
            if names.get("features")
            else f"{self.argument}[{self.number}]"
        )


@dataclass(frozen=True)
class Combination:
    """A linear combination of features in a message."""

    terms: tuple[tuple[float, int], ...]
    has_more: bool

    def said(self, **names):
        """Write the first few terms."""
        known = names.get("features")
        terms = [
            f"{a:+.4g} {f'F[{i}]' if known is None else f'({known[i]})'}" for a, i in self.terms
        ]
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
    """A text with {} for each of the things in it: numbered things, messages, or words."""

    text: str
    things: tuple = ()

    def __str__(self):
        return self.said()

    def said(self, **names):
        """Write the message, with ``features=``, ``outcomes=`` or ``classes=`` by their names."""
        things = [x.said(**names) if hasattr(x, "said") else x for x in self.things]
        return self.text.format(*things)


def failure(message, result, failed=None, **names):
    """Return the error of a solve that did not succeed."""
    return SolveError(message.said(**names), result, failed, message=message)


def of_parts(noun, num_parts, failed, message, kind=""):
    """Return what to say of solves of which some failed, with the message of the first of these.

    `failed` are their labels, and `kind` is what a label is if not a name.
    """
    return Message(
        f"{len(failed)} of {num_parts} {plural(noun)} failed, the others are solved in the result: "
        f"{{}}. {(kind or noun).capitalize()} {{}}: {{}}",
        (listed(failed, kind), failed[0], message),
    )


def names_of(**arguments):
    """Return the names along the axes of arguments with their rules; numbers are no names."""
    found = names_along(**arguments)
    return {
        axis: [str(label) for label in labels]
        for axis, labels in found.items()
        if isinstance(axis, str) and not all(isinstance(x, int | np.integer) for x in labels)
    }
