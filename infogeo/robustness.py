r"""How near a prediction is to another decision, and what moves it there.

The Fisher-Rao distance to the decision boundary is exact (`boundary_distance`); with the pullback
metric it gives an indicator of robustness, attacks along the directions in which a network is most
sensitive, and penalties that train it to be less so.
"""

from infogeo._extras import missing

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.robustness") from None


from infogeo._array import LOGITS, bad_value, gate
from infogeo.lipschitz import certificates

__all__ = ["boundary_distance"]


def boundary_distance(logits, *, check=True):
    r"""Fisher-Rao distance from a prediction to the nearest one with another most probable class.

    .. math:: d_B(p) = 2 \arcsin \frac{\sqrt{p_{(1)}} - \sqrt{p_{(2)}}}{\sqrt2}

    with the two largest of the probabilities p = softmax(z).

    Parameters
    ----------
    logits : array, shape (..., c)
        Logits along the last axis, at least two; -inf masks a class.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2, from 0 at a tie to pi/2 at a vertex of the simplex.

    Raises
    ------
    TypeError, ValueError
        Something else than an array of logits.

    Notes
    -----
    With u = sqrt p on the unit sphere, the tie of the predicted class k and class j is the great
    sphere u_k = u_j, at the angle arcsin((u_k - u_j) / sqrt2). The foot of the perpendicular has
    no negative coordinate, so that it is a prediction, and where j is the runner-up no class is
    ahead of the two there. The probabilities are never formed: near a tie their difference would
    cancel.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.robustness import boundary_distance
    >>> boundary_distance([[0.0, 0.0], [1e-9, 0.0], [np.log(3.0), 0.0], [1e3, 0.0]])
    array([0.00000000e+00, 5.00000000e-10, 5.23598776e-01, 1.57079633e+00])
    """
    xp, z = gate(check, logits=(LOGITS, logits))
    if z.shape[-1] < 2:
        raise bad_value(
            "logits", "hold at least two classes in its last axis", f"got shape {tuple(z.shape)}"
        )
    top, second = certificates._top_two(z, xp)
    inverse_p = xp.sum(xp.exp(z - top[..., None]), axis=-1)  # 1 / p of the predicted class
    return 2.0 * xp.asin((0.0 - xp.expm1(0.5 * (second - top))) / xp.sqrt(2.0 * inverse_p))
