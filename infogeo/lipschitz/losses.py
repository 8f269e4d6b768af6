"""Losses for networks with a bounded Lipschitz constant."""

from infogeo import _array
from infogeo._array import LOGITS, bad_value, gate
from infogeo._extras import missing
from infogeo.lipschitz.certificates import POSITIVE

try:
    import torch
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.losses") from None

__all__ = ["tau_cross_entropy"]


def tau_cross_entropy(logits, target, *, tau, check=True):
    r"""Mean cross-entropy of the logits times tau, divided by tau.

    .. math:: \frac1{n \tau} \sum_k \Bigl(\log \sum_i e^{\tau z_{ki}} - \tau z_{k, y_k}\Bigr)

    The logits of a 1-Lipschitz network differ by no more than the inputs allow, so that the
    minimum is finite and tau decides what it means: a large tau asks for accuracy, a small one
    for large margins.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
        The classes are the last axis, with any number of leading axes.
    target : torch.Tensor, shape (...)
        The true classes, integers from 0 to c - 1.
    tau : float
        Inverse temperature, positive.
    check : bool
        Verify the values. On an accelerator every call then waits for them.

    Returns
    -------
    torch.Tensor, shape ()
        The mean over all leading axes, in units of the logits.

    Raises
    ------
    TypeError, ValueError
        Something else than torch tensors; shapes or values that do not fit.

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
    _check_types(logits, target)
    _, z, tau = gate(check, logits=(LOGITS, logits), tau=(POSITIVE, tau))
    _check_shapes(z, target, tau)
    if check:
        _check_classes(target, z.shape[-1])
    target, predicted = target.long()[..., None], z.argmax(-1, keepdim=True)
    top = z.gather(-1, predicted)
    # Two terms that are never negative: the log of the whole sum would cancel against z_y, and
    # so would the gradients of top and z_y where they are the same entry.
    excess = torch.where(predicted == target, 0.0, top - z.gather(-1, target))
    others = torch.exp(tau * (z - top)).scatter(-1, predicted, 0.0).sum(-1, keepdim=True)
    return torch.mean(excess + torch.log1p(others) / tau)


def _check_types(logits, target):
    for name, value in (("logits", logits), ("target", target)):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a torch tensor: got {type(value).__name__}.")
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


def _check_shapes(logits, target, tau):
    if target.shape != logits.shape[:-1]:
        raise bad_value(
            "target",
            "have one class for each row of logits",
            f"the shape of logits is {tuple(logits.shape)}, that of target {tuple(target.shape)}",
        )
    if target.numel() == 0:
        raise bad_value("target", "have at least one class", f"got shape {tuple(target.shape)}")
    if tau.ndim:
        raise bad_value("tau", "be one number", f"got shape {tuple(tau.shape)}")


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
