"""What errors say: by name where the arguments have names, and steps as the result counts them."""

import re

import numpy as np
import pytest

from infogeo import SolveError
from infogeo.family import ExponentialFamily
from infogeo.maxent import (
    balance,
    c_maximize,
    conditional,
    estimate_frequencies,
    fit_margins,
    least_violation,
    match_frequencies,
    max_entropy,
)
from infogeo.maxent._wording import listed, names_of, of_parts, plural, ran_out

pd = pytest.importorskip("pandas")

DIE = pd.DataFrame([[1.0, 2.0, 3.0]], index=["shows"], columns=["one", "two", "three"])
PEOPLE = pd.DataFrame({"age": [20.0, 30.0, 60.0], "sex": ["f", "m", "m"], "{k}": [1.0, 2.0, 4.0]})
SURE = pd.DataFrame([[0.7, 0.3, 0.0], [0.4, 0.6, 0.0]], columns=["a", "b", "c"])
TWICE = pd.DataFrame([[0.5, 0.5], [0.5, 0.5]], columns=["left", "right"])
TABLE = pd.DataFrame([[1.0, 0.0], [1.0, 1.0]], index=["f", "m"], columns=["north", "south"])


def margins(north):
    return {0: pd.Series({"f": 0.6, "m": 0.4}), 1: pd.Series({"north": north, "south": 1 - north})}


# What fails, what is said of it, and what is said without names.
FAILURES = {
    "c_maximize": (
        lambda: c_maximize(DIE, [3.2]),
        "the mean of shows is at most 3; 3.2 was asked",
        "the mean of feature 0 is at most 3",
    ),
    "names of targets": (
        lambda: max_entropy(np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]]), pd.Series([2.0, 7.0])),
        "the mean of feature 1 is at most 5",
        "the mean of feature 1 is at most 5",
    ),
    "bounds": (
        lambda: c_maximize(DIE, lower=pd.Series({"shows": 3.2})),
        "shows is below its lower bound for every outcome",
        r"feature 0 is below lower\[0\] for every outcome",
    ),
    "batch": (
        lambda: c_maximize(DIE, [[2.0], [3.2]]),
        "1 of 2 problems failed.*: number 1. Number 1: .* the mean of shows is",
        "1 of 2 problems failed.*: number 1. Number 1: .* the mean of feature 0 is",
    ),
    "clash": (
        lambda: c_maximize(pd.concat([DIE, DIE.set_axis(["again"])]), [1.5, 2.5]),
        r"targets of shows, again clash.*\(shows\)",
        r"targets of features 0, 1 clash.*F\[0\]",
    ),
    "balance": (
        lambda: balance(PEOPLE, {"age": 70.0}),
        "the mean of age is at most 60; 70 was asked",
        "the mean of feature 0 is at most 60",
    ),
    "shares": (
        lambda: balance(PEOPLE, {"sex": {"f": 0.5, "m": 0.3, "x": 0.2}}),
        "no row has sex = x; a share of 0.2 was asked",
        "no row has feature 2; a share",
    ),
    "totals": (
        lambda: balance(PEOPLE, {"age": 35_000.0}, total=1000.0),
        "35000 was asked. If that is a total, its mean is 35: divide it by 1000",
        "If that is a total",
    ),
    "braces in names": (
        lambda: balance(PEOPLE, {"{k}": 5.0}),
        r"the mean of \{k\} is at most 4",
        "the mean of feature 0 is at most 4",
    ),
    "caps": (
        lambda: balance(PEOPLE, {"age": 59.0}, upper=1.5),
        r"with them the mean of age is at most 45; 59 was asked\.",
        "the mean of feature 0 is at most 45",
    ),
    "groups": (
        lambda: balance(PEOPLE, {"f": {"age": 20.0}, "m": {"age": 70.0}}, by="sex"),
        "1 of 2 groups failed.*: m. Group m: .* the mean of age is at most 60",
        "1 of 2 groups failed.*: m. Group m: .* the mean of feature 0 is at most 60",
    ),
    "fit_margins": (
        lambda: fit_margins(TABLE, margins(0.5)),
        r"\(margin of axis 0 at f\).*Cells that clash: margin of axis 0 at f",
        r"F\[0\].*Cells that clash: features 0",
    ),
    "frequencies": (
        lambda: match_frequencies(SURE, pd.Series({"c": 0.2, "a": 0.5, "b": 0.3})),
        r"No row allows class c \(",
        r"No row allows class 2 \(",
    ),
    "estimate": (
        lambda: estimate_frequencies(TWICE, training_frequencies=[0.5, 0.5]),
        "do not tell classes left, right apart",
        "do not tell classes 0, 1 apart",
    ),
    "family": (
        lambda: ExponentialFamily([[1.0, 2.0, 3.0]]).natural_parameters([3.2]),
        "eta has no natural parameters. .* the mean of feature 0 is at most 3",
        "the mean of feature 0 is at most 3",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_names_where_there_are_some(case):
    solve, named, numbered = FAILURES[case]
    with pytest.raises(SolveError, match=f"(?s){named}") as caught:
        solve()
    message = caught.value.message
    assert re.search(numbered, message.said())
    names = [f"thing {i}" for i in range(9)]
    anew = message.said(features=names, classes=names, outcomes=names)
    assert "feature " not in anew
    assert anew == message.said() or "thing " in anew


X = np.random.default_rng(0).normal(size=(6, 3))
SKEWED = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
STOPPED = {
    "c_maximize": lambda n: c_maximize(X.T, X.T @ SKEWED, max_steps=n),
    "balance": lambda n: balance(X, [0.3, 0.1, -0.2], max_steps=n),
    "caps": lambda n: balance(X, [0.2, 0.1, -0.1], upper=2.0, max_steps=n),
    "conditional": lambda n: conditional(X, [0, 1, 0, 1, 0, 1], penalty=1e-3, max_steps=n),
    "l1": lambda n: conditional(X, [0, 1, 0, 1, 0, 1], l1_penalty=1e-3, max_steps=n),
    "match_frequencies": lambda n: match_frequencies(
        np.exp(X) / np.exp(X).sum(axis=1, keepdims=True), [0.98, 0.01, 0.01], max_steps=n
    ),
    "estimate_frequencies": lambda n: estimate_frequencies(
        np.exp(X) / np.exp(X).sum(axis=1, keepdims=True),
        training_frequencies=[0.2, 0.3, 0.5],
        max_steps=n,
    ),
}


@pytest.mark.parametrize("case", STOPPED)
@pytest.mark.parametrize("max_steps", [1, 2])
def test_steps_are_said_as_the_result_counts_them(case, max_steps):
    with pytest.raises(SolveError, match="ran out") as caught:
        STOPPED[case](max_steps)
    result = caught.value.result
    steps = int(getattr(result, "projection", result).steps)
    assert steps == max_steps
    said = re.search(r"The (\d+) (steps?|pass(es)? over the rows) ran out", str(caught.value))
    assert int(said[1]) == steps
    assert (steps == 1) == (said[2] in ("step", "pass over the rows"))


def test_the_words():
    assert listed([3], "class") == "class 3"
    assert listed(range(9), "class") == "classes 0, 1, 2, 3, 4, 5, 6, 7, ..."
    assert plural("feature") == "features"
    assert ran_out(1) == "The 1 step ran out"
    assert ran_out(0) == "The 0 steps ran out"
    said = of_parts("group", 3, ["a{", "b"], "why").said()
    assert said == (
        "2 of 3 groups failed, the others are solved in the result: a{, b. Group a{: why"
    )
    assert names_of() == {}


def test_least_violation_knows_names_too():
    with pytest.raises(SolveError, match="ran out"):
        least_violation(pd.DataFrame(X.T, index=list("abc")), X.T @ SKEWED, max_steps=1)
