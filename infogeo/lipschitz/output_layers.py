r"""The last layers of networks, from features to predictions, 1-Lipschitz in Fisher-Rao distance.

They return log-probabilities, which are logits: for the cross-entropy, `infogeo.logits` and
`infogeo.pullback`. Behind a 1-Lipschitz network each makes the prediction itself 1-Lipschitz: the
Fisher-Rao distance of two predictions, in radians of the sphere of radius 2, is at most the l2
distance of the two inputs.
"""

import math

from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.output_layers") from None

__all__ = ["Arcsine", "Softmax", "SphereExponential"]


class Softmax(nn.Module):
    r"""The 1-Lipschitz softmax.

    .. math:: p = \operatorname{softmax}(\sqrt2 z)

    Notes
    -----
    The Fisher-Rao speed of softmax(z) is at most :math:`1 / \sqrt2`, for any number of classes,
    and as much as that between two classes of probability 1/2.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import output_layers
    >>> output_layers.Softmax()(torch.tensor([1.0, 0.0, 0.0])).exp()
    tensor([0.6728, 0.1636, 0.1636])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, z: Tensor) -> Tensor:
        """Return the log-probabilities.

        Parameters
        ----------
        z : torch.Tensor, shape (..., c)
            One feature for each class.

        Returns
        -------
        torch.Tensor, shape (..., c)
            Logarithms of the probabilities.
        """
        z = _features(z, 1, "one feature for each class")
        return torch.log_softmax(math.sqrt(2.0) * z, dim=-1)


class Arcsine(nn.Module):
    r"""An isometry: a yes or no for each of k features, independent of one another.

    .. math:: p(b) = \prod_{i=1}^k \begin{cases} \sin^2(\theta_i / 2) & b_i = 1 \\
              \cos^2(\theta_i / 2) & b_i = 0 \end{cases}, \qquad \theta_i = \tfrac\pi2 + z_i

    Notes
    -----
    With one feature, a binary classifier: between -pi/2 and pi/2 the Fisher-Rao distance of two
    predictions is the distance of their features, and the certificate, abs(z), is the distance to
    the prediction 1/2. With k features there are :math:`2^k` classes, the binary numbers of k
    digits with that of the first feature first; the predictions form a submanifold that is flat.
    Behind a network that preserves the norms of gradients the pulled-back metric is a projector.

    Beyond -pi/2 and pi/2 the predictions turn back, still isometrically. Where features go that
    far, ``nn.Hardtanh(-math.pi / 2, math.pi / 2)`` stops them: it is 1-Lipschitz as well.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import output_layers
    >>> output_layers.Arcsine()(torch.tensor([0.5])).exp()
    tensor([0.2603, 0.7397])
    >>> output_layers.Arcsine()(torch.tensor([0.5, 0.0])).exp()
    tensor([0.1301, 0.1301, 0.3699, 0.3699])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, z: Tensor) -> Tensor:
        """Return the log-probabilities.

        Parameters
        ----------
        z : torch.Tensor, shape (..., k)
            Features; 0 is undecided.

        Returns
        -------
        torch.Tensor, shape (..., 2**k)
            Logarithms of the probabilities.
        """
        z = _features(z, 1, "one feature for each yes or no")
        half = 0.25 * math.pi + 0.5 * z
        pairs = 2.0 * torch.stack((half.cos(), half.sin()), dim=-1).abs().log()
        joint = pairs[..., 0, :]
        for i in range(1, z.shape[-1]):
            joint = (joint[..., :, None] + pairs[..., i, None, :]).flatten(-2)
        return joint


class SphereExponential(nn.Module):
    r"""The exponential map of the Fisher-Rao metric at the uniform prediction.

    .. math:: p_i = \Bigl(\frac{\cos(r/2)}{\sqrt c} + \sin(r/2) \frac{v_i}r\Bigr)^2, \qquad
              v = z - \bar z, \quad r = |v|

    Notes
    -----
    An isometry along the rays from the uniform prediction: the Fisher-Rao distance to it is r, as
    far as the ray does not leave the simplex. Across them it contracts, since the sphere is curved.
    Beyond the simplex the predictions are reflected at its faces, which enlarges no distance.

    References
    ----------
    Rauch's comparison theorem: M. P. do Carmo, Riemannian geometry, Birkhauser 1992, chapter 10.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import output_layers
    >>> output_layers.SphereExponential()(torch.tensor([0.5, 0.0, 0.0])).exp()
    tensor([0.5342, 0.2329, 0.2329])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, z: Tensor) -> Tensor:
        """Return the log-probabilities.

        Parameters
        ----------
        z : torch.Tensor, shape (..., c)
            One feature for each class; a constant added changes nothing.

        Returns
        -------
        torch.Tensor, shape (..., c)
            Logarithms of the probabilities.
        """
        z = _features(z, 2, "one feature for each class")
        v = z - z.mean(-1, keepdim=True)
        half = 0.5 * torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        ratio = 0.5 * torch.sinc(half / math.pi)  # sin(r/2) / r
        return 2.0 * (half.cos() / math.sqrt(z.shape[-1]) + ratio * v).abs().log()


def _features(z, smallest, rule):
    """Return the features, integers as floating-point numbers."""
    if not isinstance(z, torch.Tensor) or z.is_complex():
        kind = getattr(z, "dtype", type(z).__name__)
        raise TypeError(f"z must be a torch tensor of real features: got {kind}.")
    if z.ndim == 0 or z.shape[-1] < smallest:
        raise bad_value("z", f"have {rule}, at least {smallest}", f"got shape {tuple(z.shape)}")
    return z if z.is_floating_point() else z.to(torch.get_default_dtype())


finish(globals())
