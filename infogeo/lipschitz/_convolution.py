r"""Norms of convolutions on inputs of any size, bounded from above.

Padding with zeros and leaving out outputs only restrict the convolution on all of Z^d, and so does
a torus that it fits: its norm holds for all of them. With :math:`\hat W(\omega) = \sum_t W_t
e^{-i \omega t}` it is the supremum of :math:`|\hat W(\omega)|` over all frequencies, and a stride
of s is a convolution without one whose input channels are the s^d phases of the input.
"""

import itertools
import math

import torch

_RTOL = 1e-6
_MOST_FIRST_OPERATIONS = 4e11  # the bound is looser where a first grid would take more
_MOST_OPERATIONS = 5e10  # and where the search ends before _RTOL
_MOST_POINTS = 30_000
_LARGEST_PART = 2**21  # complex numbers held at a time
_EPS = torch.finfo(torch.float64).eps


def convolution_norm(weight, stride, dilation, order):
    """Return an upper bound of the norm on all of Z^d, from lp to lp.

    weight has the shape (groups, out_channels, in_channels, *kernel), float64; those of each group.
    """
    if any(s > 1 for s in stride):
        weight = _dilated(weight, dilation)  # without a stride it changes no norm
    blocks = _phases(weight, stride)
    if order == math.inf:
        return float(blocks.abs().flatten(2).sum(2).max())
    if order == 1:
        return float(blocks.abs().flatten(3).sum((1, 3)).max())
    scale = float(blocks.abs().max())
    return scale * _spectral_bound(blocks / scale) if scale > 0.0 else 0.0


def copies(mode, size, before, after):
    """Return how often a padding repeats an entry at most, along one axis; size None is any."""
    if mode == "circular":
        size = max(before, after, 1) if size is None else size
        return 1 + -(-(before + after) // size)
    if mode == "replicate":
        return 1 + (before + after if size in (1, None) else max(before, after))
    is_both = size is None or max(1, size - 1 - after) <= min(before, size - 2)
    ends = (before > 0, after > 0)
    return 1 + (sum(ends) if is_both else max(ends))


def _dilated(weight, dilation):
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[3:], dilation, strict=True)]
    wide = weight.new_zeros(*weight.shape[:3], *sizes)
    wide[(..., *(slice(None, None, d) for d in dilation))] = weight
    return wide


def _phases(weight, stride):
    """Write a convolution with a stride as one without, of the phases of its input."""
    num_axes = len(stride)
    pad = [(-k) % s for k, s in zip(weight.shape[3:], stride, strict=True)]
    weight = torch.nn.functional.pad(weight, [n for size in reversed(pad) for n in (0, size)])
    for axis, s in enumerate(stride):
        weight = weight.unflatten(3 + 2 * axis, (-1, s))
    taps, phases = range(3, 3 + 2 * num_axes, 2), range(4, 4 + 2 * num_axes, 2)
    weight = weight.permute(0, 1, 2, *phases, *taps)
    return weight.flatten(2, 2 + num_axes)


def _spectral_bound(blocks):
    r"""Bound sup |W(omega)| by branch and bound.

    Let G be the smaller one of W'W and WW', M the supremum of its largest eigenvalue, attained at
    omega0 by u, m the infimum of its least one, and c their mean. Then p(omega) = u'(G(omega) - c)
    u is a real trigonometric polynomial, of degree n_i = taps_i - 1 in omega_i, and nowhere larger
    than p(omega0) = M - c. By Bernstein's inequality in the form of Szego (Duffin and Schaeffer for
    lines in any direction), p(omega) >= (M - c) cos(sum_i n_i h_i) where no omega_i is farther than
    h_i from that of omega0, if the angle is at most pi. So of boxes of half-width h, one of those
    with lambda_max(centre) >= (M (1 + cos) + m (1 - cos)) / 2 holds omega0: the others are left,
    these are halved, and M is at most (2 max lambda_max - m (1 - cos)) / (1 + cos).
    """
    blocks, factor, fineness = _affordable(blocks)
    degrees = torch.tensor(blocks.shape[3:], dtype=torch.float64) - 1.0
    moving = degrees > 0.0
    centres, widths = _first_boxes(degrees, fineness)
    error, work, cost = _rounding(blocks), len(centres), _operations(blocks)
    low, high = _extreme_eigenvalues(blocks, centres)
    cosine = math.cos(float(degrees @ widths))
    top, least = float(high.max()), float(low.min())
    bound = _supremum(top + error, 0.0, cosine)
    half_range = 0.5 * bound  # of (M - m) / 2
    if cosine > 0.1:
        half_range = min(half_range, (0.5 * (top - least) + error) / cosine)
    floor = max(0.0, least - error - half_range * (1.0 - cosine))
    bound = _supremum(top + error, floor, cosine)
    while bound > top * (1.0 + 2.0 * _RTOL) + 4.0 * error:
        is_possible = high >= 0.5 * (top * (1.0 + cosine) + floor * (1.0 - cosine)) - 2.0 * error
        centres = centres[is_possible]
        work += len(centres) * 2 ** int(moving.sum())
        if work > _MOST_POINTS or work * cost > _MOST_OPERATIONS:
            break
        widths = torch.where(moving, 0.5 * widths, widths)
        sides = [(-1.0, 1.0) if moves else (0.0,) for moves in moving]
        offsets = torch.tensor(list(itertools.product(*sides)), dtype=torch.float64) * widths
        centres = (centres[:, None] + offsets).flatten(0, 1)
        low, high = _extreme_eigenvalues(blocks, centres)
        cosine = math.cos(float(degrees @ widths))
        top = max(top, float(high.max()))
        bound = min(bound, _supremum(float(high.max()) + error, floor, cosine))
    return factor * math.sqrt(max(bound, top) + 4.0 * error) * (1.0 + 4.0 * _EPS)


def _supremum(largest, least, cosine):
    return (2.0 * largest - least * (1.0 - cosine)) / (1.0 + cosine)


def _affordable(blocks):
    r"""Return blocks whose first grid can be afforded, what their bound times, and the fineness.

    The sum over the k taps of an axis is at most :math:`\sqrt k` times the norm of the taps as more
    rows (or columns), by the inequality of Cauchy and Schwarz: the axis is gone.
    """
    factor = 1.0
    while True:
        degrees = torch.tensor(blocks.shape[3:]) - 1
        for fineness in (3, 2):
            if _num_boxes(degrees, fineness) * _operations(blocks) < _MOST_FIRST_OPERATIONS:
                return blocks, factor, fineness
        axis = 3 + int(degrees.argmax())
        if blocks.shape[axis] == 1:
            return blocks, factor, 3
        factor *= math.sqrt(blocks.shape[axis])
        larger = 1 if blocks.shape[1] >= blocks.shape[2] else 2
        blocks = blocks.movedim(axis, larger).flatten(larger, larger + 1)
        blocks = blocks.reshape(*blocks.shape[:axis], 1, *blocks.shape[axis:])


def _counts(degrees, fineness):
    num_moving = max(int((degrees > 0).sum()), 1)
    return [fineness * num_moving * int(n) if n > 0 else 1 for n in degrees]


def _num_boxes(degrees, fineness):
    counts = _counts(degrees, fineness)
    first = next((n for n in counts if n > 1), 1)
    return math.prod(counts) // first * (first // 2 + 1)


def _first_boxes(degrees, fineness):
    """Return the centres of boxes that cover half of the frequencies, and their half-widths."""
    counts = _counts(degrees, fineness)
    widths = torch.tensor([math.pi / count for count in counts], dtype=torch.float64)
    axes = [2.0 * width * torch.arange(n) for width, n in zip(widths, counts, strict=True)]
    first = next((axis for axis, n in enumerate(counts) if n > 1), 0)
    axes[first] = axes[first][: counts[first] // 2 + 1]  # G(-omega) is the conjugate of G(omega)
    return torch.cartesian_prod(*axes).reshape(-1, len(axes)).double(), widths


def _extreme_eigenvalues(blocks, frequencies):
    """Return the least and the largest eigenvalue of G at each frequency, over the groups."""
    groups, rows, columns, *taps = blocks.shape
    positions = torch.cartesian_prod(*(torch.arange(float(n)) for n in taps)).reshape(-1, len(taps))
    flat = blocks.flatten(3).permute(3, 0, 1, 2).flatten(1).to(torch.complex128)
    size = max(groups * rows * columns, len(positions))  # of the symbol and of the phases
    num_parts = -(-len(frequencies) * size // _LARGEST_PART)
    found = []
    for part in frequencies.tensor_split(min(num_parts, len(frequencies))):
        phase = torch.exp(-1j * (part @ positions.double().mT))
        symbol = (phase @ flat).reshape(-1, groups, rows, columns)
        gram = symbol @ symbol.mH if rows <= columns else symbol.mH @ symbol
        values = torch.linalg.eigvalsh(gram) if min(rows, columns) > 1 else gram.real[..., 0]
        found.append(torch.stack((values.amin((1, 2)), values.amax((1, 2)))))
    return torch.cat(found, dim=1)


def _rounding(blocks):
    """Return a bound of the error of an eigenvalue: of the sum, the product and LAPACK's."""
    _, rows, columns, *taps = blocks.shape
    square = float(blocks.abs().flatten(3).sum(3).square().sum((1, 2)).max())
    return (8.0 * (rows + columns) + 4.0 * math.prod(taps) + 64.0) * _EPS * square


def _operations(blocks):
    groups, rows, columns, *taps = blocks.shape
    small = min(rows, columns)
    product = rows * columns * (8.0 * math.prod(taps) + 8.0 * small)
    # Small matrices, and the call for each of them, take as long as so many fast operations.
    return 1e6 + groups * (product + 20.0 * small**3 + 2500.0 * small**2)
