"""What a network makes of a normal input: mean and covariance, layer by layer.

`propagate` takes the exact moments of each layer's output for a normal input and goes on with the
normal that has them (assumed density filtering). So the result is exact for affine maps, exact up
to the second layer that is not affine, and an approximation beyond. `linearize` takes the
derivative at the mean, for any network.
"""

from collections.abc import Callable

from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo._system.extras import missing
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.propagation") from None

from infogeo.lipschitz import _moments
from infogeo.lipschitz._activations import AbsoluteValue, GroupSort, Scaling
from infogeo.lipschitz._checks import check_size

__all__ = ["Square", "linearize", "propagate"]


class Square(nn.Module):
    """Take the square of each feature: between affine layers, any quadratic function.

    Notes
    -----
    No Lipschitz constant is known for it: it has none.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.propagation import Square
    >>> Square()(torch.tensor([-2.0, 3.0]))
    tensor([4., 9.])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Take squares.

        Parameters
        ----------
        x : torch.Tensor
            Of any shape.

        Returns
        -------
        torch.Tensor
            Of the same shape.
        """
        return x * x


def propagate(
    model: nn.Module, point: MultivariateNormal | Normal, *, num_nodes: int = 64, check: bool = True
) -> MultivariateNormal:
    r"""Propagate a normal input through a network, by the moments of its layers.

    Parameters
    ----------
    model : torch.nn.Module
        A layer, or a ``Sequential`` of layers, of these types:

        - affine: ``Linear`` (`infogeo.lipschitz.layers.OrthogonalLinear` too), ``Identity``,
          ``Flatten``, ``Dropout`` and ``BatchNorm1d`` in eval mode, `layers.Scaling`;
        - with kinks: ``ReLU``, ``LeakyReLU``, `layers.AbsoluteValue`, `layers.GroupSort` of pairs;
        - quadratic: `Square`;
        - smooth: ``Tanh``, ``Sigmoid``, ``Softplus``, ``SiLU``, ``GELU``.
    point : MultivariateNormal or Normal
        The input, of torch tensors, with d features and any batch shape. The components of a
        `Normal` along its last axis are independent.
    num_nodes : int
        Nodes of the Gauss-Hermite rule for smooth layers, at least 2.
    check : bool
        Verify that the covariance of the output is positive definite.

    Returns
    -------
    MultivariateNormal
        Of the same batch shape, dtype and device; computed in float64.

    Raises
    ------
    TypeError, ValueError
        A layer that is not known; features that do not fit; an output whose covariance is
        singular, as behind a layer that widens.

    See Also
    --------
    linearize : for any network that has derivatives.

    Notes
    -----
    Exact, as far as the input of the layer is normal, are affine and quadratic layers. Those with
    kinks are exact up to the quadrature of covariances: its error is below 1e-13 of the product
    of the standard deviations for correlations up to 0.99, below 1e-7 for all. For maximum and
    minimum of two these are Clark's moments.

    Smooth layers are exact for polynomials of a degree below num_nodes. With 64 nodes ``Tanh`` is
    good to 1e-8 of the variance for standard deviations up to 1 and to 1e-3 up to 3, the others
    to 1e-14 and 1e-5. Covariances are :math:`\sum_k \varrho^k c_k c_k'` with the coefficients of
    the interpolants in normalised Hermite polynomials, and so never indefinite.

    Gradients flow to the parameters and to the point.

    References
    ----------
    C. E. Clark, The greatest of a finite set of random variables, Operations Research 9, 1961.

    R. Price, A useful theorem for nonlinear devices having Gaussian inputs, IRE Transactions on
    Information Theory 4, 1958.

    D. Dera, G. Rasool and N. Bouaynaya, Extended variational inference for propagating
    uncertainty in convolutional neural networks, MLSP 2019.

    Examples
    --------
    The larger one of two independent standard normals has the mean 1 / sqrt(pi) and the variance
    1 - 1 / pi.

    >>> import torch
    >>> from infogeo.lipschitz.layers import GroupSort
    >>> from infogeo.lipschitz.propagation import propagate
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> point = MultivariateNormal(torch.zeros(2), torch.eye(2))
    >>> propagate(GroupSort(), point).mean
    tensor([-0.5642,  0.5642])
    >>> propagate(GroupSort(), point).cov
    tensor([[0.6817, 0.3183],
            [0.3183, 0.6817]])
    """
    check_size("num_nodes", num_nodes, 2)
    mean, cov = _input(point)
    dtype = mean.dtype
    mean, cov = mean.double(), cov.double()
    for name, layer in _layers(model):
        mean, cov = _step(name, layer, mean, cov, num_nodes)
        cov = 0.5 * (cov + cov.mT)
    return _normal(mean, cov, dtype, check)


def linearize(
    model: Callable[[Tensor], Tensor], point: MultivariateNormal | Normal, *, check: bool = True
) -> MultivariateNormal:
    r"""Propagate a normal input by the derivative of the network at its mean.

    .. math:: N(\mu, S) \mapsto N(f(\mu), J S J^\top)

    Parameters
    ----------
    model : callable
        Maps tensors of shape (batch, d) to shape (batch, e), row by row.
    point : MultivariateNormal or Normal
        The input, of torch tensors, with any batch shape.
    check : bool
        Verify that the covariance of the output is positive definite.

    Returns
    -------
    MultivariateNormal
        Of the same batch shape, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Something else than a normal; an output whose covariance is singular, as where it has more
        features than the input.

    Notes
    -----
    Of first order: for S of size :math:`s^2`, the mean of a smooth network is off by
    :math:`O(s^2)` and the covariance by :math:`O(s^4)`. Nothing is said about kinks nearby.

    References
    ----------
    D. Dera, G. Rasool and N. Bouaynaya, Extended variational inference for propagating
    uncertainty in convolutional neural networks, MLSP 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.propagation import linearize
    >>> from infogeo.normal import Normal
    >>> linearize(torch.exp, Normal(torch.zeros(1), torch.tensor([0.1]))).cov
    tensor([[0.0100]])
    """
    mean, cov = _input(point)
    rows = mean.reshape(-1, mean.shape[-1])
    output = model(rows)
    if output.ndim != 2 or len(output) != len(rows):
        raise bad_value(
            "model",
            "map shape (batch, d) to shape (batch, e)",
            f"it mapped {tuple(rows.shape)} to {tuple(output.shape)}",
        )
    derivative = torch.func.vmap(torch.func.jacrev(lambda row: model(row[None])[0]))(rows)
    derivative = derivative.reshape(*mean.shape[:-1], output.shape[-1], mean.shape[-1])
    mean = output.reshape(*mean.shape[:-1], output.shape[-1])
    return _normal(mean, derivative @ cov @ derivative.mT, mean.dtype, check)


# ---------------------------------------------------------------- the two ends


def _input(point):
    """Return mean and covariance of the input."""
    if not isinstance(point, MultivariateNormal | Normal):
        raise TypeError(
            f"point must be a MultivariateNormal or a Normal: got {type(point).__name__}."
        )
    if not isinstance(point.mean, torch.Tensor):
        raise TypeError(
            f"point must hold torch tensors: its mean is a {type(point.mean).__name__}. "
            "Convert mean and covariance with torch.as_tensor."
        )
    if isinstance(point, MultivariateNormal):
        return point.mean, point.cov
    if point.mean.ndim == 0:
        raise bad_value("point", "have its features along the last axis", "got shape ()")
    return point.mean, torch.diag_embed(point.std.square())


def _normal(mean, cov, dtype, check):
    """Return the output, in the dtype of the input."""
    if check:
        _check_rank(cov.detach())
    return MultivariateNormal(mean.to(dtype), cov.to(dtype), check=check)


def _check_rank(cov):
    """Require eigenvalues of the correlation matrix that rounding does not explain."""
    if not cov.isfinite().all():
        raise bad_value("model", "have finite outputs", "their covariance has NaN or inf entries")
    scale = cov.diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()
    scale = torch.where(scale > 0.0, scale, 1.0)
    eigenvalues = torch.linalg.eigvalsh(cov / (scale[..., :, None] * scale[..., None, :]))
    share = float((eigenvalues[..., 0] / eigenvalues[..., -1]).min())
    if not share > 8.0 * torch.finfo(cov.dtype).eps * cov.shape[-1]:
        raise bad_value(
            "model",
            "have outputs that vary, without a linear relation between them",
            f"the eigenvalues of their correlations have the ratio {share:.3g}",
            "A network that widens makes the covariance singular; check=False returns it all the "
            "same.",
        )


def _layers(model, name=""):
    """Yield all layers with their names, those of nested Sequentials in order."""
    if isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward:
        for key, child in model.named_children():
            yield from _layers(child, f"{name}.{key}" if name else key)
    else:
        yield name, model


# ---------------------------------------------------------------- layers


def _step(name, layer, mean, cov, num_nodes):
    """Return the moments behind a layer."""
    seen = type(layer).__name__ + (f" (layer {name})" if name else "")
    if isinstance(layer, SMOOTH) and _is_unchanged(layer, SMOOTH):
        return _moments.smooth(layer, mean, cov, num_nodes)
    for kind, function in RULES.items():
        if isinstance(layer, kind) and _is_unchanged(layer, (kind,)):
            return function(seen, layer, mean, cov)
    known = ", ".join(kind.__name__ for kind in (*RULES, *SMOOTH))
    raise TypeError(
        f"model must be made of layers whose moments are known: got {seen}. Known are {known}; "
        "linearize takes any network that has derivatives."
    )


def _is_unchanged(layer, kinds):
    """Return whether a subclass computes what its base class does, as a parametrised layer does."""
    return any(type(layer).forward is kind.forward for kind in kinds)


def _affine(seen, layer, mean, cov):
    weight = layer.weight.to(mean)
    _check_width(seen, mean, weight.shape[-1])
    mean = mean @ weight.mT
    return mean if layer.bias is None else mean + layer.bias.to(mean), weight @ cov @ weight.mT


def _identity(seen, layer, mean, cov):
    return mean, cov


def _dropout(seen, layer, mean, cov):
    _check_eval(seen, layer.training and layer.p > 0.0)
    return mean, cov


def _batch_norm(seen, layer, mean, cov):
    _check_eval(seen, layer.training or layer.running_mean is None)
    _check_width(seen, mean, layer.num_features)
    scale = torch.rsqrt(layer.running_var.to(mean) + layer.eps)
    shift = 0.0
    if layer.affine:
        scale, shift = layer.weight.to(mean) * scale, layer.bias.to(mean)
    mean = (mean - layer.running_mean.to(mean)) * scale + shift
    return mean, scale[:, None] * cov * scale


def _scaling(seen, layer, mean, cov):
    return layer.factor * mean, layer.factor * (layer.factor * cov)


def _relu(seen, layer, mean, cov):
    return _moments.two_slopes(0.0, 1.0, mean, cov)


def _leaky_relu(seen, layer, mean, cov):
    return _moments.two_slopes(layer.negative_slope, 1.0, mean, cov)


def _absolute_value(seen, layer, mean, cov):
    return _moments.two_slopes(-1.0, 1.0, mean, cov)


def _group_sort(seen, layer, mean, cov):
    if layer.group_size != 2:
        raise bad_value(
            f"group_size of {seen}", "be 2 for moments to be known", f"got {layer.group_size}"
        )
    if layer.dim != -1:
        raise bad_value(f"dim of {seen}", "be -1, the features", f"got {layer.dim}")
    if mean.shape[-1] % 2:
        raise bad_value(seen, "get pairs of features", f"got {mean.shape[-1]} features")
    return _moments.sorted_pairs(mean, cov)


def _square(seen, layer, mean, cov):
    return _moments.squares(mean, cov)


def _check_width(seen, mean, width):
    if mean.shape[-1] != width:
        raise bad_value(seen, f"get {width} features", f"got {mean.shape[-1]}")


def _check_eval(seen, is_training):
    if is_training:
        raise bad_value(
            seen, "be in eval mode", "in train mode its output is random or depends on the batch"
        )


RULES = {
    nn.Linear: _affine,
    nn.Identity: _identity,
    nn.Flatten: _identity,
    nn.Dropout: _dropout,
    nn.BatchNorm1d: _batch_norm,
    Scaling: _scaling,
    nn.ReLU: _relu,
    nn.LeakyReLU: _leaky_relu,
    AbsoluteValue: _absolute_value,
    GroupSort: _group_sort,
    Square: _square,
}
SMOOTH = (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.SiLU, nn.GELU)


finish(globals())
