"""How many inputs are in work at once: as many as memory holds rows and activations for."""

import weakref
from dataclasses import replace

from infogeo.pullback._network import SampleInputs, network_of

_ROWS, _ACTIVATIONS = 2**25, 2**26  # numbers that are held at once


def blocks(metric, x):
    """Yield parts of a batch with the metric for them: the metric and x if all fit at once."""
    size = len(x) if len(x) <= 1 else _num_inputs(metric, x)
    if len(x) <= size:
        yield metric, x
        return
    inputs = SampleInputs.of(metric.inputs)
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        yield replace(metric, inputs=inputs.select(part)), x[part]


def _num_inputs(metric, x):
    """Return how many inputs fit at once, by one of them: measured once for a kind of input."""
    kind = (x.shape[1:], x.dtype, x.device)
    try:
        known = _SIZES.setdefault(metric.model, {})
    except TypeError:  # a model that cannot be remembered
        known = {}
    if kind not in known:
        network = network_of(metric)
        network.check_samples(x)  # which says why one alone fails
        gradients = network.at_sample(0).gradients(x[:1])
        known[kind] = gradients.z.numel() * gradients.x.numel(), gradients.forward_pass.total
    rows, activations = known[kind]
    return max(1, min(_ROWS // max(1, rows), _ACTIVATIONS // max(1, activations)))


_SIZES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
