r"""The distribution that expectations single out: C-maximisation, with proofs.

Given features F, targets b and a base C, `c_maximize` finds the point p* where the mixture family
:math:`\{p : E_p[F_i] = b_i\}` meets the exponential family :math:`p \propto \exp(C + \theta' F)`.
It returns a certified error of every log-probability, or a vector that proves that no
distribution satisfies the constraints. Logs are natural, outcomes lie along the last axis.
"""

from infogeo._docs import finish
from infogeo.maxent._balance import Balance, BalanceDiagnostics, balance
from infogeo.maxent._c_maximize import c_maximize, least_violation, max_entropy
from infogeo.maxent._conditional.conditional import (
    ConditionalProjection,
    Separation,
    conditional,
)
from infogeo.maxent._dual.projection import Projection
from infogeo.maxent._estimate import FrequencyEstimate, estimate_frequencies
from infogeo.maxent._frequencies import FrequencyMatch, match_frequencies
from infogeo.maxent._margins import fit_margins

__all__ = [
    "Balance",
    "BalanceDiagnostics",
    "ConditionalProjection",
    "FrequencyEstimate",
    "FrequencyMatch",
    "Projection",
    "Separation",
    "balance",
    "c_maximize",
    "conditional",
    "estimate_frequencies",
    "fit_margins",
    "least_violation",
    "match_frequencies",
    "max_entropy",
]


finish(globals())
