"""Losses for networks with a bounded Lipschitz constant, all of them to be minimised.

Classes are integers; for the binary losses, whose network has one output f, they are -1 and 1.
"""

import numpy as np

from infogeo import _array
from infogeo._array import MODEL_LOGITS, NON_NEGATIVE, POSITIVE, REAL, Rule, bad_value, gate
from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.losses") from None

__all__ = [
    "binary_tau_cross_entropy",
    "hkr",
    "kantorovich_rubinstein",
    "mean_certifiable_robustness",
    "multiclass_hinge",
    "multiclass_hkr",
    "multiclass_kantorovich_rubinstein",
    "offset_cross_entropy",
    "tau_cross_entropy",
]


def tau_cross_entropy(logits: Tensor, target: Tensor, *, tau: float, check: bool = True) -> Tensor:
    r"""Return the mean cross-entropy of the logits times tau, divided by tau.

    .. math:: \frac1{n \tau} \sum_k \Bigl(\log \sum_i e^{\tau z_{ki}} - \tau z_{k, y_k}\Bigr)

    The logits of a 1-Lipschitz network differ by no more than the inputs allow, so that the
    minimum is finite and tau decides what it means: a large tau asks for accuracy, a small one
    for large margins.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
    target : torch.Tensor, shape (...)
    tau : float
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        The mean over all leading axes, in units of the logits.

    Notes
    -----
    The gradient by the logits of one example is softmax(tau z) - onehot(y): because of the
    division, neither its size nor a good learning rate depends on tau. In the limits, the
    constant log(c) / tau apart, the loss of an example is mean(z) - z_y (tau to 0) and
    max(z) - z_y (tau to inf). Small losses and their gradients keep their relative precision.

    References
    ----------
    L. Bethune, T. Boissin, M. Serrurier, F. Mamalet, C. Friedrich and A. Gonzalez Sanz, Pay
    attention to your loss: understanding misconceptions about 1-Lipschitz neural networks,
    NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import tau_cross_entropy
    >>> logits, target = torch.tensor([[0.3, 0.1], [0.0, 0.2]]), torch.tensor([0, 1])
    >>> tau_cross_entropy(logits, target, tau=10.0)
    tensor(0.0127)
    """
    z, target, tau = _gate(check, logits, target, tau=(POSITIVE, tau))
    return torch.mean(_cross_entropy(z, target, tau))


def offset_cross_entropy(
    logits: Tensor, target: Tensor, *, offset: float, tau: float = 1.0, check: bool = True
) -> Tensor:
    r"""Return the mean cross-entropy after an offset is subtracted from the target's logit.

    .. math:: \frac1{n \tau} \sum_k \log\Bigl(1 +
              \sum_{i \ne y_k} e^{\tau (z_{ki} - z_{k, y_k} + m)}\Bigr)

    With an offset of :math:`m = \sqrt2 L \varepsilon` it bounds the cross-entropy of every
    perturbation of size :math:`\varepsilon` from above, if the logits are L-Lipschitz.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
    target : torch.Tensor, shape (...)
    offset : float
        m, not negative, in units of the logits.
    tau : float
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        The mean over all leading axes, in units of the logits.

    Notes
    -----
    Divided by tau as `tau_cross_entropy` is; an offset of 0 gives the same number.

    References
    ----------
    H. Wang, Y. Wang, Z. Zhou, X. Ji, D. Gong, J. Zhou, Z. Li and W. Liu, CosFace: large margin
    cosine loss for deep face recognition, CVPR 2018.

    B. Prach and C. H. Lampert, Almost-orthogonal layers for efficient general-purpose Lipschitz
    networks, ECCV 2022.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import offset_cross_entropy
    >>> logits, target = torch.tensor([[0.3, 0.1], [0.0, 0.2]]), torch.tensor([0, 1])
    >>> offset_cross_entropy(logits, target, offset=0.2, tau=10.0)
    tensor(0.0693)
    """
    z, target, offset, tau = _gate(
        check, logits, target, offset=(NON_NEGATIVE, offset), tau=(POSITIVE, tau)
    )
    is_target = torch.zeros_like(z, dtype=torch.bool).scatter(-1, target, True)
    return torch.mean(_cross_entropy(torch.where(is_target, z - offset, z), target, tau))


def multiclass_hinge(
    logits: Tensor, target: Tensor, *, margin: float, check: bool = True
) -> Tensor:
    r"""Return by how much the margins to the other classes fall short, in sum, as a mean.

    .. math:: \frac1n \sum_k \sum_{i \ne y_k} \max(0, \kappa - (z_{k, y_k} - z_{ki}))

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
    target : torch.Tensor, shape (...)
    margin : float
        The :math:`\kappa` to reach, positive: of L-Lipschitz logits, sqrt(2) L times the radius
        to certify.
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        The mean over all leading axes, in units of the logits.

    References
    ----------
    J. Weston and C. Watkins, Support vector machines for multi-class pattern recognition, ESANN
    1999; for Lipschitz networks C. Anil, J. Lucas and R. Grosse, ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import multiclass_hinge
    >>> logits, target = torch.tensor([[0.5, 0.0, 0.25], [0.0, 2.0, 1.0]]), torch.tensor([0, 1])
    >>> multiclass_hinge(logits, target, margin=1.0)
    tensor(0.6250)
    """
    z, target, margin = _gate(check, logits, target, margin=(POSITIVE, margin))
    return _multiclass_hinge(z, target, margin)


def multiclass_kantorovich_rubinstein(
    logits: Tensor, target: Tensor, *, check: bool = True
) -> Tensor:
    r"""Return the Kantorovich-Rubinstein loss of each class against the others, as a mean.

    .. math:: \frac1{|C|} \sum_{k \in C} \Bigl(\frac1{n - n_k} \sum_{y_i \ne k} z_{ik}
              - \frac1{n_k} \sum_{y_i = k} z_{ik}\Bigr)

    with the classes C that occur among the targets, :math:`n_k` times each.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
    target : torch.Tensor, shape (...)
        The true classes, integers from 0 to c - 1; at least two have to occur.
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        In units of the logits: minus the mean of lower bounds of the Wasserstein-1 distances
        between each class and the others, if each logit is 1-Lipschitz.

    Raises
    ------
    TypeError, ValueError
        Something else than torch tensors; shapes or values that do not fit; one class only; a
        class that occurs and is masked for some inputs.

    Notes
    -----
    A constant added to a logit changes nothing. For two classes with the logits (-f/2, f/2) it is
    half of `kantorovich_rubinstein` of f.

    References
    ----------
    M. Serrurier, F. Mamalet, A. Gonzalez-Sanz, T. Boissin, J.-M. Loubes and E. del Barrio,
    Achieving robustness in classification using optimal transport with hinge regularization,
    CVPR 2021.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import multiclass_kantorovich_rubinstein
    >>> logits, target = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 1])
    >>> multiclass_kantorovich_rubinstein(logits, target)
    tensor(-2.)
    """
    z, target = _gate(check, logits, target)
    _check_transported(check, z, target)
    return _multiclass_kantorovich_rubinstein(z, target)


def multiclass_hkr(
    logits: Tensor, target: Tensor, *, margin: float, weight: float, check: bool = True
) -> Tensor:
    r"""Return the Kantorovich-Rubinstein loss of several classes with a hinge.

    .. math:: \mathrm{KR}(z, y) + \frac \lambda n \sum_i \sum_{j \ne y_i}
              \max(0, \kappa - (z_{i, y_i} - z_{ij}))

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
    target : torch.Tensor, shape (...)
        The true classes, integers from 0 to c - 1; at least two have to occur.
    margin : float
        The :math:`\kappa` of `multiclass_hinge`, positive: of L-Lipschitz logits, sqrt(2) L times
        the radius to certify.
    weight : float
        :math:`\lambda` of the hinge, not negative.
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        In units of the logits.

    Raises
    ------
    TypeError, ValueError
        Something else than torch tensors; shapes or values that do not fit; one class only; a
        class that occurs and is masked for some inputs.

    Notes
    -----
    The sum of `multiclass_kantorovich_rubinstein` and the weighted `multiclass_hinge`, whose
    margins between two logits are what certificates are made of; the paper has a hinge for each
    logit by itself.

    References
    ----------
    M. Serrurier, F. Mamalet, A. Gonzalez-Sanz, T. Boissin, J.-M. Loubes and E. del Barrio,
    Achieving robustness in classification using optimal transport with hinge regularization,
    CVPR 2021.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import multiclass_hkr
    >>> logits, target = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 1])
    >>> multiclass_hkr(logits, target, margin=3.0, weight=2.0)
    tensor(0.)
    """
    z, target, margin, weight = _gate(
        check, logits, target, margin=(POSITIVE, margin), weight=(NON_NEGATIVE, weight)
    )
    _check_transported(check, z, target)
    transport = _multiclass_kantorovich_rubinstein(z, target)
    return transport + weight * _multiclass_hinge(z, target, margin)


def binary_tau_cross_entropy(f: Tensor, y: Tensor, *, tau: float, check: bool = True) -> Tensor:
    r"""Return the mean binary cross-entropy of the output times tau, divided by tau.

    .. math:: \frac1{n \tau} \sum_k \log(1 + e^{-\tau y_k f_k})

    Parameters
    ----------
    f : torch.Tensor, shape (...)
    y : torch.Tensor, shape (...)
        The true classes, -1 or 1.
    tau : float
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        The mean, in units of the output.

    Notes
    -----
    The `tau_cross_entropy` of the logits (0, f). Small losses keep their relative precision.

    References
    ----------
    L. Bethune, T. Boissin, M. Serrurier, F. Mamalet, C. Friedrich and A. Gonzalez Sanz, Pay
    attention to your loss: understanding misconceptions about 1-Lipschitz neural networks,
    NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import binary_tau_cross_entropy
    >>> binary_tau_cross_entropy(torch.tensor([0.3, -0.1]), torch.tensor([1, -1]), tau=10.0)
    tensor(0.0181)
    """
    f, y, tau = _gate_binary(check, f, y, tau=(POSITIVE, tau))
    return -torch.mean(torch.nn.functional.logsigmoid(tau * y * f)) / tau


def kantorovich_rubinstein(f: Tensor, y: Tensor, *, check: bool = True) -> Tensor:
    r"""Return the mean of f over the class -1 less its mean over the class 1.

    .. math:: \frac1{n_-} \sum_{y_k = -1} f_k - \frac1{n_+} \sum_{y_k = 1} f_k

    Parameters
    ----------
    f : torch.Tensor, shape (...)
        The network's output, one number for each example.
    y : torch.Tensor, shape (...)
        The true classes, -1 or 1; both have to occur.
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        In units of the output: minus a lower bound of the Wasserstein-1 distance between the two
        samples, if the network is 1-Lipschitz.

    Raises
    ------
    TypeError, ValueError
        Something else than torch tensors; shapes or values that do not fit; a class missing.

    Notes
    -----
    The minimum is minus the Wasserstein-1 distance. A constant added to f changes nothing, so
    that the minimiser need not be a good classifier: that is what `hkr` adds.

    References
    ----------
    C. Villani, Optimal transport: old and new, Springer 2009, theorem 5.10.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import kantorovich_rubinstein
    >>> kantorovich_rubinstein(torch.tensor([1.5, 0.5, -1.0]), torch.tensor([1, 1, -1]))
    tensor(-2.)
    """
    f, y = _gate_binary(check, f, y)
    _check_both_classes(check, y)
    return _kantorovich_rubinstein(f, y)


def hkr(f: Tensor, y: Tensor, *, margin: float, weight: float, check: bool = True) -> Tensor:
    r"""Return the Kantorovich-Rubinstein loss with a hinge.

    .. math:: \frac1{n_-} \sum_{y_k = -1} f_k - \frac1{n_+} \sum_{y_k = 1} f_k
              + \frac \lambda n \sum_k \max(0, m - y_k f_k)

    Parameters
    ----------
    f : torch.Tensor, shape (...)
    y : torch.Tensor, shape (...)
        The true classes, -1 or 1; both have to occur.
    margin : float
        m, positive, in units of the output.
    weight : float
        :math:`\lambda` of the hinge, not negative.
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        In units of the output.

    Raises
    ------
    TypeError, ValueError
        Something else than torch tensors; shapes or values that do not fit; a class missing.

    References
    ----------
    M. Serrurier, F. Mamalet, A. Gonzalez-Sanz, T. Boissin, J.-M. Loubes and E. del Barrio,
    Achieving robustness in classification using optimal transport with hinge regularization,
    CVPR 2021.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import hkr
    >>> hkr(torch.tensor([1.5, 0.5, -1.0]), torch.tensor([1, 1, -1]), margin=1.0, weight=6.0)
    tensor(-1.)
    """
    f, y, margin, weight = _gate_binary(
        check, f, y, margin=(POSITIVE, margin), weight=(NON_NEGATIVE, weight)
    )
    _check_both_classes(check, y)
    hinge = torch.mean(torch.relu(margin - y * f))
    return _kantorovich_rubinstein(f, y) + weight * hinge


def mean_certifiable_robustness(f: Tensor, y: Tensor, *, check: bool = True) -> Tensor:
    r"""Return minus the mean of the signed certificates.

    .. math:: -\frac1n \sum_k y_k f_k

    Parameters
    ----------
    f : torch.Tensor, shape (...)
    y : torch.Tensor, shape (...)
        The true classes, -1 or 1.
    check : bool

    Returns
    -------
    torch.Tensor, shape ()
        In units of the output.

    Notes
    -----
    Of a 1-Lipschitz network, y f is the certified radius of an example that is classified right,
    and minus the radius within which one that is not stays so. It is the limit of
    `binary_tau_cross_entropy` for small tau, up to a factor and a constant.

    References
    ----------
    L. Bethune, T. Boissin, M. Serrurier, F. Mamalet, C. Friedrich and A. Gonzalez Sanz, Pay
    attention to your loss: understanding misconceptions about 1-Lipschitz neural networks,
    NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.losses import mean_certifiable_robustness
    >>> mean_certifiable_robustness(torch.tensor([1.5, 0.5, -1.0]), torch.tensor([1, 1, -1]))
    tensor(-1.)
    """
    f, y = _gate_binary(check, f, y)
    return -torch.mean(y * f)


def _cross_entropy(z, target, tau):
    """Return the loss of each row, for a target of shape (..., 1)."""
    predicted = z.argmax(-1, keepdim=True)
    top = z.gather(-1, predicted)
    # Two terms that are never negative: the log of the whole sum would cancel against z_y, and
    # so would the gradients of top and z_y where they are the same entry.
    excess = torch.where(predicted == target, 0.0, top - z.gather(-1, target))
    others = torch.exp(tau * (z - top)).scatter(-1, predicted, 0.0).sum(-1, keepdim=True)
    return excess + torch.log1p(others) / tau


def _multiclass_hinge(z, target, margin):
    missing = torch.relu(margin - (z.gather(-1, target) - z)).scatter(-1, target, 0.0)
    return torch.mean(missing.sum(-1))


def _multiclass_kantorovich_rubinstein(z, target):
    z, target = z.reshape(-1, z.shape[-1]), target.reshape(-1, 1)
    is_own = torch.zeros_like(z, dtype=torch.bool).scatter(-1, target, True)
    counts = is_own.sum(0)
    own = torch.where(is_own, z, 0.0).sum(0) / counts.clamp_min(1)
    others = torch.where(is_own, 0.0, z).sum(0) / (len(z) - counts).clamp_min(1)
    occurs = counts > 0
    return torch.where(occurs, others - own, 0.0).sum() / occurs.sum()


def _kantorovich_rubinstein(f, y):
    is_positive = y > 0.0
    positive = torch.where(is_positive, f, 0.0).sum() / is_positive.sum()
    return torch.where(is_positive, 0.0, f).sum() / (~is_positive).sum() - positive


# ---------------------------------------------------------------- the gate of the losses


def _gate(check, logits, target, **numbers):
    """Return the logits, the target with an axis added and the numbers."""
    _check_types(logits, target)
    _, z, *values = gate(check, logits=(MODEL_LOGITS, logits), **numbers)
    _check_shapes(z, target)
    _check_numbers(numbers, values)
    if check:
        _check_classes(target, z.shape[-1])
    return z, target.long()[..., None], *values


def _gate_binary(check, f, y, **numbers):
    """Return the outputs, the signs in their dtype and the numbers."""
    for name, value in (("f", f), ("y", y)):
        _check_tensor(name, value)
    _, f, y, *values = gate(check, f=(REAL, f), y=(SIGN, y), **numbers)
    if f.shape != y.shape or f.numel() == 0:
        raise bad_value(
            "y",
            "have one class for each output, and there must be one",
            f"the shape of f is {tuple(f.shape)}, that of y {tuple(y.shape)}",
            "A network with one output feature needs f.squeeze(-1)." if f.ndim > y.ndim else "",
        )
    _check_numbers(numbers, values)
    return f, y, *values


def _check_tensor(name, value):
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a torch tensor: got {type(value).__name__}.")


def _check_numbers(names, values):
    for name, value in zip(names, values, strict=True):
        if value.ndim:
            raise bad_value(name, "be one number", f"got shape {tuple(value.shape)}")


def _check_both_classes(check, y):
    if check and _array.is_readable(y) and bool((y == y.reshape(-1)[0]).all()):
        raise bad_value("y", "have both classes, -1 and 1", f"all are {float(y.reshape(-1)[0]):g}")


def _check_transported(check, z, target):
    """Refuse one class alone, and classes that are masked for some inputs: a mean would be -inf."""
    if not check or not _array.is_readable(target):
        return
    classes = target.unique()
    if len(classes) == 1:
        raise bad_value("target", "have at least two classes", f"all are {int(classes[0])}")
    is_masked = torch.isneginf(z.detach()[..., classes]).reshape(-1, len(classes)).any(0)
    if bool(is_masked.any()):
        raise bad_value(
            "logits",
            "be finite for all classes that occur",
            f"class {int(classes[is_masked][0])} is masked for some inputs",
        )


def _are_signs(y, coarseness):
    return bool((abs(y) == 1.0).all())


def _explain_signs(name, y, coarseness):
    wrong = np.abs(y) != 1.0
    if wrong.any():
        advice = "Use 2 y - 1 if the classes are 0 and 1." if np.isin(y, (0.0, 1.0)).all() else ""
        raise bad_value(name, "hold classes -1 and 1", f"it has the entry {y[wrong][0]:g}", advice)


SIGN = Rule("", _are_signs, _explain_signs)


def _check_types(logits, target):
    for name, value in (("logits", logits), ("target", target)):
        _check_tensor(name, value)
    if target.dtype.is_floating_point or target.dtype.is_complex or target.dtype == torch.bool:
        raise TypeError(
            f"target must hold classes as integers: its dtype is {target.dtype}. "
            "Use target.argmax(-1) if it is one-hot."
        )
    if target.device != logits.device:
        raise TypeError(
            f"logits and target must be on the same device: logits is on {logits.device} and "
            f"target on {target.device}. Move one of them with .to(...)."
        )


def _check_shapes(logits, target):
    if target.shape != logits.shape[:-1]:
        raise bad_value(
            "target",
            "have one class for each row of logits",
            f"the shape of logits is {tuple(logits.shape)}, that of target {tuple(target.shape)}",
        )
    if target.numel() == 0:
        raise bad_value("target", "have at least one class", f"got shape {tuple(target.shape)}")


def _check_classes(target, num_classes):
    if not _array.is_readable(target):
        return
    smallest, largest = int(target.min()), int(target.max())
    if smallest < 0 or largest >= num_classes:
        raise bad_value(
            "target",
            f"hold classes from 0 to {num_classes - 1}",
            f"its entries range from {smallest} to {largest}",
        )


finish(
    globals(),
    {
        "check : bool": "Verify the values. On an accelerator every call then waits for them.",
        "TypeError, ValueError": (
            "Something else than torch tensors; shapes or values that do not fit."
        ),
        "logits : torch.Tensor, shape (..., c)": (
            "The classes are the last axis, with any number of leading axes."
        ),
        "target : torch.Tensor, shape (...)": "The true classes, integers from 0 to c - 1.",
        "tau : float": "Inverse temperature, positive.",
        "f : torch.Tensor, shape (...)": (
            "The network's output, one number for each example: positive for the class 1."
        ),
    },
)
