r"""Distances between all pairs of points, and nearest neighbours, in Fisher-Rao geometry.

On the simplex the unit vectors :math:`x = \sqrt p` turn all pairs into one matrix product:
:math:`d = 2 \arccos x \cdot y`. That form is exact for far pairs only, because rounding of the
product drowns near ones. So every pair takes the first of three forms that is certain to hold the
promised digits: the product; the chord :math:`|x - y|`, seen from the vertex that both points are
close to if they are; `fisher_rao_distance` itself. The bounds below decide, not the data.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_dask_array,
    is_jax_array,
    is_torch_array,
    is_writeable_array,
)

from infogeo import _array, logits, simplex
from infogeo._array import LOGITS, PROBABILITIES, Array, Namespace, bad_value, gate
from infogeo._result import Neighbors

__all__ = ["nearest", "pairwise_distance"]


def pairwise_distance(a, b=None, *, space=simplex, block_size=None, check=True):
    r"""Fisher-Rao distances between all points of a and all points of b.

    .. math:: D_{ij} = d(a_i, b_j)

    Parameters
    ----------
    a : array, shape (n, c)
        One point per row. For spaces with points of another kind: a batch of n points.
    b : array, shape (m, c), or None
        The other points. None: the distances within a, symmetric, with 0 on the diagonal.
    space : module or object
        What the points are: `infogeo.simplex` (probabilities), `infogeo.logits`, or anything
        with a function ``fisher_rao_distance`` that broadcasts over ``a[i, None]`` and
        ``b[None, j]`` for slices i and j, and batches with a length.
    block_size : int or None
        Rows of a and of b that are worked on at a time: beside the result, memory is needed for
        a few arrays of that many points. None: 4096, fewer from 256 outcomes on so that such an
        array takes 8 MiB, but at least 256.
    check : bool
        Verify the values. Shapes and dtypes are always verified. Other spaces than the
        simplex and the logits verify by their own rules.

    Returns
    -------
    array, shape (n, m)
        In the library, dtype and device of the points.

    Raises
    ------
    TypeError, ValueError
        Points that are not two-dimensional arrays of one library, that differ in their outcomes or
        break the rules of the space; a space without distance; a block size below 1.

    Notes
    -----
    The relative error of every distance is below 1e-10 in float64 and 1e-4 in float32, those of
    near pairs and saturated predictions included. Matrix products and comparisons are done in
    float64 where the device has it. Spread points cost the matrix product and the arccos; pairs
    too near for it (roughly, below 0.02 for 10 and 0.05 for 1000 outcomes) cost some 10 times as
    much each, and pairs that agree to 4 digits cost a `fisher_rao_distance`.

    Dask arrays give a lazy result with their chunks of rows; the last axis is brought into one
    chunk.

    Examples
    --------
    >>> pairwise_distance([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]) / np.pi
    array([[0. , 1. , 0.5],
           [1. , 0. , 0.5],
           [0.5, 0.5, 0. ]])
    """
    block_size = _checked_block_size(block_size)
    rule = _rule_of(space)
    if rule is None:
        a, b = _as_batches(a, b)
        return _assembled(len_of(a), b is None, b, _direct_measure(a, b, space), block_size)
    if b is None:
        xp, a = _gate_rows(check, rule, a=a)
    else:
        xp, a, b = _gate_rows(check, rule, a=a, b=b)
    if is_dask_array(a):
        return _lazy_pairwise(a, b, space, block_size)
    return _pairwise(a, b, space, block_size, xp)
