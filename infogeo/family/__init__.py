r"""Exponential families E_C and mixture families M_D of distributions over finitely many outcomes.

Features F, shape (m, c), give both kinds: :math:`p \propto \exp(C + \theta' F)` is flat in
log-probabilities, :math:`\{p : E_p[F_i] = b_i\}` in probabilities. For the same F each of the first
meets each of the second in one point at most, at a right angle. What needs a solve goes through
`infogeo.maxent`, and its proofs come along.
"""

from __future__ import annotations

from infogeo._docs import finish
from infogeo.family._alternation import Alternation, em
from infogeo.family._exponential import ExponentialFamily
from infogeo.family._mixture import MixtureFamily
from infogeo.family._projections import e_projection, intersection, m_projection

__all__ = [
    "Alternation",
    "ExponentialFamily",
    "MixtureFamily",
    "e_projection",
    "em",
    "intersection",
    "m_projection",
]

finish(
    globals(),
    {
        "theta : array, shape (..., m)": "Natural parameters.",
    },
)
