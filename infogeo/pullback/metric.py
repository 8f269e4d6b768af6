r"""The pullback of the Fisher metric through a network, G(x) = J' F J, by its factor.

The factor A J has c - 1 rows for c classes. All quantities come from its rows and the logarithms
of their weights, so that a saturated prediction keeps what float32 probabilities lose.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from array_api_compat import torch as xp
from torch import Tensor

from infogeo import _array
from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._result import Shown, Table
from infogeo._status import SolveError
from infogeo._system.registry import storable
from infogeo.pullback import heads, input_metrics, leaves, paths
from infogeo.pullback._blocks import blocks
from infogeo.pullback._checks import (
    check_count,
    check_input,
    check_number,
    check_pair,
    require_distance,
)
from infogeo.pullback._derivatives import NoForwardModeError, Tangent, apply_head
from infogeo.pullback._memory import is_remembering
from infogeo.pullback._network import Inputs, SampleInputs, network_of
from infogeo.pullback._operator import FactorProducts, largest, right_vectors, squared_lengths
from infogeo.pullback._spectrum import (
    ScaledFactor,
    decompose,
    factor_from,
    gradients_at,
    log_eigenvalues,
    rank_of,
    relative,
    relative_factor,
    relative_triangle,
    triangle_of,
)
from infogeo.pullback.heads import Head
from infogeo.pullback.input_metrics import InputMetric
from infogeo.pullback.strategies import Batched, Loop, Operator

__all__ = ["PullbackMetric"]


@storable("Spectrum")
@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Table):
    """Eigenvalues and eigenvectors of a pullback metric, relative to the input's own metric.

    Parameters
    ----------
    values : array, shape (batch, k)
        Descending, squared Fisher-Rao length (of the radius-2 sphere) per squared input length.
    vectors : array, shape (batch, k, ...)
        Orthonormal directions of the shape of an input, one for each value.
    temperature : float
        The softmax temperature the metric was taken at.
    errors : array, shape (batch, k), or None
        For values from products with vectors: by how much each can be too small; none is too
        large by more than rounding. None for values that are exact to rounding.
    """

    axes: ClassVar = {"sample": None, "rank": None}

    values: Array
    vectors: Array
    temperature: float
    errors: Array | None = None


@storable("TraceEstimate")
@dataclass(frozen=True, eq=False, repr=False)
class TraceEstimate(Table):
    """The trace of a pullback metric from random directions of the output.

    Parameters
    ----------
    values : array, shape (batch,)
        Unbiased estimates of the trace.
    standard_errors : array, shape (batch,)
        Their standard deviations, estimated from the same samples.
    num_samples : int
        How many random directions were taken.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    axes: ClassVar = {"sample": None}

    values: Array
    standard_errors: Array
    num_samples: int
    temperature: float


@dataclass(frozen=True, eq=False, repr=False)
class PullbackMetric(Shown):
    r"""How a network measures its inputs: the Fisher metric of its predictions, pulled back.

    .. math:: G(x) = J(x)^\top F(z) \, J(x), \qquad z = \mathrm{model}(x) / T, \quad
              J = \partial z / \partial x

    where F is the Fisher information of the head; for the categorical head p = softmax(z) and
    F = diag p - p p'. The length of v in this metric is how far the prediction moves, in radians
    of the sphere of radius 2, for each unit of length that x moves along v.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps x of shape (batch, ...) to raw outputs, for instance logits, of shape (batch, c).
        Each output may depend on its own input only.
    head : Head
        What the raw outputs stand for.
    inputs : torch.Tensor, tuple of torch.Tensor, mapping of str to torch.Tensor, or None
        What the model takes beside x, for instance an attention mask: ``model(x, *inputs)``, or
        ``model(x, **inputs)`` if they have names. Each has a row for every sample of the batches
        that the metric is used with, or one row for all samples. They are constants: the metric
        is that of x. In paths, walks and parts of a batch each point keeps the inputs of its
        sample, which a tensor that the model finds in a closure would not.
    input_metric : InputMetric or None
        The metric h of the inputs that `spectrum`, `log_spectrum`, `trace` and `rank` are
        relative to: v has length 1 if v' h(x) v = 1. None: the Euclidean one. The factor, the
        matrix, norms and inner products do not depend on it.
    temperature : float
        Outputs are divided by it before the head reads them. The metric depends on it.
    strategy : Loop, Batched, Operator or None
        How the rows of the factor are computed. None: by Loop or Batched, whichever is faster for
        this model, measured at its first use with inputs of a kind (shape, dtype, device), and by
        Operator where a spectrum is to have few of many values. Loop and Batched agree to
        rounding; name one, or call `torch.use_deterministic_algorithms`, where each bit counts.
    chunk_size : int or None
        How many gradients (rows of the factor) are computed at once; less takes less memory.
        None: as many as keep each layer's gradients below 4 million numbers, at least one.
    check : bool
        Verify the values of inputs, outputs and gradients. Shapes and dtypes are always verified.

    Raises
    ------
    TypeError, ValueError
        A model, head, temperature or chunk size that cannot be used.

    Notes
    -----
    The gradients of a batch are taken at once, as gradients of sums over the batch. That is
    right for models that treat each sample by itself. BatchNorm and Dropout in training mode do
    not, and raise, wherever a function keeps them; so do models that are random or mix samples in
    another way, and gradients that are not the derivatives of what the model computes (parts under
    `torch.no_grad`, hooks). That is looked at with two inputs, once for a model and a kind of
    input, and not with ``check=False``: see `check_independent`.

    All results are detached from the graph, live on the device of x and have its dtype (float32
    for half precision). The gradients of the model's parameters stay as they are. Results are
    those of the linear region that autograd picks where the model has a kink.

    References
    ----------
    S. Amari, Information Geometry and Its Applications, Springer 2016, chapters 1 to 3.
    E. Grementieri and R. Fioresi, Model-centric data manifold: the data through the eyes of the
    model, SIAM J. Imaging Sci. 15, 2022.

    Examples
    --------
    Logits (0, 2 x) make a prediction with p = 1/2 at x = 0 and G = 4 p (1 - p).

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> metric = PullbackMetric(lambda x: torch.cat([0.0 * x, 2.0 * x], dim=1))
    >>> x = torch.tensor([[0.0], [50.0]], dtype=torch.float64)
    >>> metric.norm(x, torch.ones_like(x))
    tensor([1.0000e+00, 3.8575e-22], dtype=torch.float64)
    """

    model: Callable[..., Tensor]
    head: Head = heads.categorical
    inputs: Inputs | SampleInputs = field(default=None, kw_only=True)
    input_metric: InputMetric | None = field(default=None, kw_only=True)
    temperature: float = field(default=1.0, kw_only=True)
    strategy: Loop | Batched | Operator | None = field(default=None, kw_only=True)
    chunk_size: int | None = field(default=None, kw_only=True)
    check: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise TypeError(
                f"model must be a torch.nn.Module or a function: got {type(self.model).__name__}."
            )
        if not isinstance(self.head, Head):
            raise TypeError(
                f"head must be an infogeo.pullback.Head: got {type(self.head).__name__}. "
                "Wrap a function z -> A(z) with A'A = F(z) as Head(function)."
            )
        if self.input_metric is None:
            object.__setattr__(self, "input_metric", input_metrics.euclidean)
        elif not isinstance(self.input_metric, InputMetric):
            raise TypeError(
                "input_metric must be an infogeo.pullback.InputMetric: got "
                f"{type(self.input_metric).__name__}. Wrap weights or a matrix as "
                "input_metrics.diagonal(weights) or input_metrics.full(matrix)."
            )
        check_number("temperature", self.temperature)
        SampleInputs.of(self.inputs)
        if not isinstance(self.strategy, Loop | Batched | Operator | None):
            raise TypeError(
                "strategy must be Loop(), Batched(), Operator() or None: got "
                f"{getattr(self.strategy, '__name__', type(self.strategy).__name__)}."
            )
        if self.chunk_size is not None:
            check_count("chunk_size", self.chunk_size)

    def scaled_factor(self, x: Tensor) -> ScaledFactor:
        r"""Return the factor before its scales can underflow: A = diag(exp(log_scales)) rows.

        .. math:: R_i = D_i - \frac{\sum_{j \ne k} p_j D_j}{1 + \sqrt{p_k}}, \qquad
                  \log s_i = \tfrac12 \log p_i \qquad (i \ne k)

        for the categorical head, with k the most probable class, D_i the gradient of z_i - z_k,
        and the other classes in descending order.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)

        Returns
        -------
        ScaledFactor
            Rows of shape (batch, r, d) and log_scales of shape (batch, r), where r = c - 1 for
            the categorical head and d is the number of entries of an input.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        A gap of 400 between two logits: the weight exp(-200) of the row is no float32 number.

        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = torch.nn.init.eye_(model.weight)
        >>> factor = PullbackMetric(model).scaled_factor(torch.tensor([[400.0, 0.0]]))
        >>> factor.rows, factor.log_scales
        (tensor([[[-1.,  1.]]]), tensor([[-200.]]))
        """
        check_input(x, check=self.check)
        factor = factor_from(self, gradients_at(self, x))
        rows = factor.rows.clone() if is_remembering() else factor.rows  # to be changed at will
        return ScaledFactor(rows, factor.log_scales, factor.temperature)

    def factor(self, x: Tensor) -> Tensor:
        r"""Return A with A'A = G(x).

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)

        Returns
        -------
        torch.Tensor, shape (batch, r, d)
            For the categorical head one row for each class but the most probable one, in
            descending order of probability. Rows whose weights underflow are 0; `scaled_factor`
            keeps them.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> PullbackMetric(model).factor(torch.rand(5, 8, 8)).shape
        torch.Size([5, 9, 64])
        """
        factor = self.scaled_factor(x)
        return factor.rows.mul_(factor.log_scales.exp()[..., None])

    def matrix(self, x: Tensor) -> Tensor:
        r"""Return the metric as a matrix, G(x) = A'A.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)

        Returns
        -------
        torch.Tensor, shape (batch, d, d)
            Symmetric, of rank at most c - 1. The other methods do without it.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> PullbackMetric(lambda x: x).matrix(torch.zeros(1, 2, dtype=torch.float64))
        tensor([[[ 0.2500, -0.2500],
                 [-0.2500,  0.2500]]], dtype=torch.float64)
        """
        factor = self.factor(x)
        return factor.mT @ factor

    def norm(self, x: Tensor, v: Tensor) -> Tensor:
        r"""Return the length of tangent vectors, sqrt(v' G(x) v), from one directional derivative.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        v : torch.Tensor, shape (batch, ...)

        Returns
        -------
        torch.Tensor, shape (batch,)
            How fast the prediction moves, in radians of the sphere of radius 2.

        Raises
        ------
        TypeError, ValueError
            Inputs, vectors or outputs that cannot be used.

        Notes
        -----
        The factor is applied to dz = J v, in O(c). Where an operation has no forward-mode
        derivative (recurrent layers), J v comes from two backward passes, and where it has no
        second derivative either, from the rows of `scaled_factor`.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> x, v = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
        >>> PullbackMetric(lambda x: x).norm(x, v), PullbackMetric(lambda x: x).norm(x, 0.0 * v)
        (tensor([0.5000]), tensor([0.]))
        """
        check_input(x, check=self.check, v=v)
        return _array.norm(_pushed(self, x, v), xp)

    def inner_product(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        r"""Return the inner product of tangent vectors, u' G(x) v, without a Jacobian.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        u, v : torch.Tensor, shape (batch, ...)
            Two tangent vectors at each input.

        Returns
        -------
        torch.Tensor, shape (batch,)
            Squared radians of the sphere of radius 2.

        Raises
        ------
        TypeError, ValueError
            Inputs, vectors or outputs that cannot be used.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> x = torch.zeros(1, 2)
        >>> u, v = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> PullbackMetric(lambda x: x).inner_product(x, u, v)
        tensor([-0.2500])
        """
        check_input(x, check=self.check, u=u, v=v)
        return (_pushed(self, x, u) * _pushed(self, x, v)).sum(-1)

    def spectrum(self, x: Tensor, *, num_values: int | None = None) -> Spectrum:
        r"""Return the eigenvalues of G(x) that can differ from 0, and their eigenvectors.

        .. math:: G(x) \, v_i = \lambda_i \, h(x) \, v_i, \qquad v_i^\top h(x) \, v_j = \delta_{ij}

        with the input metric h, the identity if none was given.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        num_values : int or None
            How many, from the largest; None for all min(r, n), where r = c - 1 for the
            categorical head and n is the dimension of the inputs.

        Returns
        -------
        Spectrum
            Values in descending order, shape (batch, k), vectors of shape (batch, k, ...),
            orthonormal in h and determined up to sign, and the temperature. A value below the
            smallest number of its dtype is 0; `log_spectrum` keeps it. With `errors` where they
            come from products.

        Raises
        ------
        TypeError, ValueError
            Inputs, outputs, gradients or a number of values that cannot be used.
        SolveError
            With ``strategy=Operator()``: its steps did not suffice. `result` has what was found.
        RuntimeError
            With ``strategy=Operator()``: a model with neither forward-mode nor second derivatives.

        Notes
        -----
        From a singular value decomposition of the factor, with its rows in descending order:
        small eigenvalues keep their relative accuracy, which those of the d x d matrix lose. Its
        cost grows with r^3: some seconds for an input of 1000 classes.

        With ``strategy=Operator()``, or where there are more than 128 classes for each value asked
        for and one more, by block Lanczos on products with G: no rows, and values with errors.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> spectrum = PullbackMetric(lambda x: x).spectrum(torch.zeros(1, 3), num_values=2)
        >>> spectrum.values, spectrum.vectors.shape
        (tensor([[0.3333, 0.3333]]), torch.Size([1, 2, 3]))
        """
        if num_values is not None:
            check_count("num_values", num_values)
        check_input(x, check=self.check)
        gradients = gradients_at(self, x)
        if num_values is not None and _may_take_products(self, gradients, num_values):
            spectrum = _spectrum_by_products(self, x, gradients, num_values)
            if spectrum is not None:
                return spectrum
        factor = relative(self, x, factor_from(self, gradients))
        if num_values is not None:
            _check_num_values(num_values, factor.rows.shape[1:])
        basis, triangle = triangle_of(factor)
        log_values, vectors = decompose(triangle)
        log_values, vectors = log_values[:, :num_values], vectors[:, :, :num_values]
        vectors = _in_inputs(self, x, triangle.tensor(vectors).mT @ basis.mT)
        return Spectrum(triangle.tensor(np.exp(log_values)), vectors, self.temperature)

    def log_spectrum(self, x: Tensor) -> Tensor:
        r"""Return the logarithms of the values of `spectrum`, also of those that underflow.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)

        Returns
        -------
        torch.Tensor, shape (batch, k)
            As many as `spectrum` has. Descending; -inf for an eigenvalue that is exactly 0. Where
            the rank is lower the rest of the values is rounding, or -inf; see `rank`.

        Raises
        ------
        TypeError, ValueError

        Notes
        -----
        Exact to rounding however far the prediction is saturated. The weights exp(log_scales)
        of the rows are split into windows of 600 nats that overlap by 80: what lies 40 nats
        apart changes no eigenvalue by more than the square of exp(-40).

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> x = torch.tensor([[0.0, -300.0, -5000.0]])
        >>> PullbackMetric(lambda x: x).log_spectrum(x)
        tensor([[ -299.3069, -4999.5947]])
        """
        return torch.cat([_log_spectrum(*block) for block in _blocks(self, x)])

    def trace(self, x: Tensor) -> Tensor:
        r"""Return the trace of G(x) relative to the input metric: the sum of its eigenvalues.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)

        Returns
        -------
        torch.Tensor, shape (batch,)
            n times the mean of the squared norm over all directions of unit length, of which
            there are n independent ones.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> PullbackMetric(lambda x: x).trace(torch.zeros(1, 4))
        tensor([0.7500])
        """
        return torch.cat([_trace(*block) for block in _blocks(self, x)])

    def hutchinson_trace(
        self, x: Tensor, *, num_samples: int = 32, generator: torch.Generator | None = None
    ) -> TraceEstimate:
        r"""Estimate the trace from random combinations of the rows of the factor.

        .. math:: \mathrm{tr} \, G = \mathrm{E} \, |A^\top w|^2, \qquad w_i = \pm 1

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        num_samples : int
            How many vectors w, at least 2: each costs one backward pass, and `trace` one for each
            class but one.
        generator : torch.Generator or None
            Where the signs come from; None for torch's own.

        Returns
        -------
        TraceEstimate
            Unbiased values with their standard errors, which fall as the root of num_samples.

        Raises
        ------
        TypeError, ValueError
            Inputs, outputs, gradients or a number of samples that cannot be used.

        Notes
        -----
        The signs combine rows, not inputs: the standard deviation of one sample is the root of
        twice the sum of the squared inner products of different rows, and 0 if they are
        orthogonal.

        References
        ----------
        M. F. Hutchinson, A stochastic estimator of the trace of the influence matrix, Comm.
        Statist. Simulation Comput. 19, 1990.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> estimate = PullbackMetric(lambda x: x).hutchinson_trace(torch.zeros(1, 2))
        >>> estimate.values, estimate.standard_errors
        (tensor([0.5000]), tensor([0.]))
        """
        check_count("num_samples", num_samples)
        if num_samples == 1:
            raise bad_value("num_samples", "be at least 2, for a standard error", "got 1")
        check_input(x, check=self.check)
        gradients = gradients_at(self, x)
        with torch.inference_mode(False), torch.enable_grad():
            products = _products(self, x, gradients)
            samples = squared_lengths(products, num_samples, gradients.num_at_once, generator)
        samples *= (2.0 * products.log_scale).exp()[:, None]
        spread, mean = torch.std_mean(samples, dim=1)
        return TraceEstimate(
            mean.to(gradients.z.dtype),
            (spread / math.sqrt(num_samples)).to(gradients.z.dtype),
            num_samples,
            self.temperature,
        )

    def rank(self, x: Tensor, *, rtol: float | None = None) -> Tensor:
        r"""Return the number of independent directions in which the prediction can move.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        rtol : float or None
            Count the eigenvalues above rtol times the largest one. None counts those that
            rounding can tell from 0, however small the probabilities make them.

        Returns
        -------
        int tensor, shape (batch,)
            At most c - 1 for the categorical head.

        Raises
        ------
        TypeError, ValueError
            Inputs, outputs, gradients or a tolerance that cannot be used.

        Notes
        -----
        Without `rtol` it is the rank of the rows of `scaled_factor`, each relative to the length
        of the gradients that it is a difference of: their singular values are compared with
        32 sqrt(r) eps times the largest; the rounding of gradients reaches some 7 eps. The
        epsilon is that of the precision in which the model computes, whatever the dtype of its
        outputs. In half precision, under autocast and for TF32 it is compared with 8 eps, which
        for bfloat16 is 0.06: `rtol`, or ``model.float()``, sees smaller ones.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> metric = PullbackMetric(lambda x: x)
        >>> x = torch.tensor([[0.0, -300.0, -5000.0]])
        >>> metric.rank(x), metric.rank(x, rtol=1e-6)
        (tensor([2]), tensor([1]))
        """
        if rtol is not None:
            check_number("rtol", rtol)
            logs = self.log_spectrum(x)
            return ((logs > logs[:, :1] + math.log(rtol)) & (logs > -math.inf)).sum(-1)
        ranks = [rank_of(relative_triangle(*block)) for block in _blocks(self, x)]
        return torch.asarray(np.concatenate(ranks), device=x.device)

    def output_distance(self, x0: Tensor, x1: Tensor) -> Tensor:
        r"""Return the Fisher-Rao distance of the two predictions.

        Parameters
        ----------
        x0, x1 : torch.Tensor, shape (batch, ...)
            The inputs; one of the two batches may have length 1.

        Returns
        -------
        torch.Tensor, shape (batch,)
            In radians of the sphere of radius 2, at most pi: a lower bound of the length of every
            path from x0 to x1 in this metric.

        Raises
        ------
        TypeError, ValueError
            Inputs or outputs that cannot be used; a head without a distance.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> x0, x1 = torch.tensor([[0.0, -200.0]]), torch.tensor([[0.0, 200.0]])
        >>> PullbackMetric(lambda x: x).output_distance(x0, x1)
        tensor([3.1416])
        """
        distance = require_distance(self.head)
        check_pair(x0, x1, check=self.check)
        network = network_of(self)
        if self.inputs is not None:
            x0, x1 = torch.broadcast_tensors(x0, x1)
        return distance(network.outputs_alone(x0), network.outputs_alone(x1))

    def boundary_distance(self, x: Tensor) -> Tensor:
        r"""Return how far the prediction is from the nearest one with another decision.

        .. math:: d_B(p) = 2 \arcsin \frac{\sqrt{p_{(1)}} - \sqrt{p_{(2)}}}{\sqrt2}

        for the categorical head, with the two largest probabilities.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)

        Returns
        -------
        torch.Tensor, shape (batch,)
            Fisher-Rao distance: no path in this metric from x to an input with another decision
            is shorter. At most pi / 2 for classes and labels.

        Raises
        ------
        TypeError, ValueError
            Inputs or outputs that cannot be used; a head without decisions.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import PullbackMetric
        >>> PullbackMetric(lambda x: x).boundary_distance(torch.tensor([[1e-6, 0.0], [9.0, 0.0]]))
        tensor([5.0000e-07, 1.5486e+00])
        """
        if self.head.boundary_distance is None:
            raise ValueError(
                "head must know the distance to the nearest other decision: this Head has none. "
                "Pass Head(factor, boundary_distance=...)."
            )
        check_input(x, check=self.check)
        z = network_of(self).outputs_alone(x)
        return self.head.boundary_distance(z)

    # Methods that are long enough for a file of their own.
    length = paths.length
    energy = paths.energy
    segment_length = paths.segment_length
    distance = paths.distance
    horizontal = leaves.horizontal
    vertical = leaves.vertical
    kernel_walk = leaves.kernel_walk
    leaf_path = leaves.leaf_path
    leaf_curvature = leaves.leaf_curvature


def _blocks(metric, x):
    """Return parts of a batch that fit into memory, with the metric for them."""
    check_input(x, check=metric.check)
    return blocks(metric, x)


def _log_spectrum(metric, x):
    triangle = relative_triangle(metric, x)
    return triangle.tensor(log_eigenvalues(triangle))


_CHUNK = 64  # rows of the factor


def _trace(metric, x):
    factor = relative_factor(metric, x)
    scales = factor.log_scales.exp()[..., None]
    pairs = zip(factor.rows.split(_CHUNK, dim=1), scales.split(_CHUNK, dim=1), strict=True)
    return sum((rows * scale).square().sum((-2, -1)) for rows, scale in pairs)


def _in_inputs(metric, x, vectors):
    """Return vectors of shape (batch, k, n) in orthonormal frames as tangent vectors at x."""
    vectors = metric.input_metric.push(x.detach().to(vectors.dtype), vectors)
    return vectors.reshape(*vectors.shape[:2], *x.shape[1:])


def _check_num_values(num_values, shape):
    limit = min(shape)
    if num_values > limit:
        raise bad_value("num_values", f"be at most {limit} for this model", f"got {num_values}")


def _pushed(metric, x, v):
    """Return A(z) J v, shape (batch, r)."""
    try:
        z, tangent = network_of(metric).push(x, v)
    except NoForwardModeError:
        factor = factor_from(metric, gradients_at(metric, x))
        rows = factor.rows @ v.detach().to(factor.rows.dtype).reshape(len(x), -1, 1)
        return factor.log_scales.exp() * rows[..., 0]
    rows, log_scales = apply_head(metric.head, z, Tangent(tangent))
    return log_scales.exp() * rows[..., 0]


# ---------------------------------------------------------------- by products

_ROWS_PER_PRODUCT = 128  # from so many rows for each value on, products are faster


def _may_take_products(metric, gradients, num_values):
    if metric.strategy is None:
        return gradients.z.shape[1] > _ROWS_PER_PRODUCT * (num_values + 1)
    return isinstance(metric.strategy, Operator)


def _products(metric, x, gradients):
    if metric.check:
        metric.input_metric.check_points(x)
    return FactorProducts(metric, x, gradients)


def _spectrum_by_products(metric, x, gradients, num_values):
    """Return the spectrum by block Lanczos; None where a free strategy should take rows."""
    operator = metric.strategy or Operator()
    with torch.inference_mode(False), torch.enable_grad():
        try:
            products = _products(metric, x, gradients)
            _check_num_values(num_values, (products.num_rows, products.num_columns))
            ritz = largest(products, num_values, operator)
            vectors = right_vectors(products, ritz.vectors)
        except NoForwardModeError as error:
            if metric.strategy is None:
                return None
            raise error
    scale = (2.0 * products.log_scale).exp()[:, None]
    dtype = gradients.z.dtype
    spectrum = Spectrum(
        (scale * ritz.values).to(dtype),
        _in_inputs(metric, x, vectors),
        metric.temperature,
        (scale * ritz.errors).to(dtype),
    )
    if ritz.is_converged:
        return spectrum
    if metric.strategy is None:
        return None
    raise SolveError(
        f"The {num_values} largest eigenvalues did not converge in {ritz.steps} steps: the "
        f"largest error relative to the value is {ritz.relative_error:.1e}. Raise max_steps or "
        "rtol of Operator(), or use strategy=Loop(); error.result holds what was found.",
        spectrum,
    )


finish(
    globals(),
    {
        "TypeError, ValueError": "Inputs, outputs or gradients that cannot be used.",
    },
)
