"""Random draws: how many of them, and the generator that makes them."""

from typing import Any

import numpy as np

from infogeo._array import bad_value


def generator(
    num_draws: Any, seed: Any, *, name: str = "num_draws", least: int = 1
) -> np.random.Generator:
    """Return a generator of random numbers, after a look at how many draws are asked for."""
    require_integer(name, num_draws, least)
    require_integer("seed", seed, 0)
    return np.random.default_rng(seed)


def require_integer(name: str, value: Any, least: int) -> None:
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < least:
        is_short = value is None or isinstance(value, int | float | str | np.number)
        seen = repr(value) if is_short else f"a {type(value).__name__}"
        raise bad_value(name, f"be an integer, at least {least}", f"got {seen}")
