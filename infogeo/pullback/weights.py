r"""The metric that a network induces on its weights: which weights move its predictions.

`WeightMetric` is the Fisher metric of the predictions on a data set, pulled back to the weights,
with the heads and the factor of `PullbackMetric`. Networks are points of a space of functions:
distances, lengths of training paths and straight lines need forward passes only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._result import Result
from infogeo._system.registry import storable
from infogeo.pullback import (
    heads,
    weight_evidence,
    weight_matching,
    weight_paths,
    weight_systems,
)
from infogeo.pullback._checks import check_count, check_number
from infogeo.pullback._network import Inputs
from infogeo.pullback._spectrum import decompose, log_eigenvalues, triangle_of
from infogeo.pullback._weight_network import Vector, WeightNetwork
from infogeo.pullback.heads import Head
from infogeo.pullback.metric import Spectrum, TraceEstimate

__all__ = ["WeightMetric"]


_ROWS_PER_VALUE = 32  # from so many rows for each value on, block Lanczos is faster


@storable("SpectralDensity")
@dataclass(frozen=True, eq=False, repr=False)
class SpectralDensity(Result):
    r"""The distribution of the eigenvalues of a metric, from random vectors.

    Each random vector gives a quadrature rule whose sums estimate traces of functions of the
    metric, :math:`\mathrm{tr} f(G) \approx \sum_k w_k f(\lambda_k)`.

    Parameters
    ----------
    values : array, shape (num_samples, num_steps)
        Nodes: eigenvalues as the rules see them.
    weights : array, shape (num_samples, num_steps)
        How many eigenvalues each node stands for; each row sums to the number of weights.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    values: Array
    weights: Array
    temperature: float

    def effective_dimension(self, damping: float) -> TraceEstimate:
        r"""Return an estimate of tr G (G + damping)^-1 with its standard error.

        Parameters
        ----------
        damping : float
            Positive.

        Returns
        -------
        TraceEstimate
            Of shape ().

        Raises
        ------
        ValueError
            A damping that is not positive.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(3, 2), torch.randn(9, 3))
        >>> estimate = metric.spectral_density().effective_dimension(1e-3)
        >>> error = abs(estimate.values - metric.effective_dimension(1e-3))
        >>> bool(error < 5.0 * estimate.standard_errors + 1e-3)
        True
        """
        check_number("damping", damping)
        values = self.values.clamp(min=0.0)
        found = (self.weights * values / (values + damping)).sum(-1)
        return _estimate(found, self.temperature)


@dataclass(frozen=True, eq=False)
class WeightMetric:
    r"""How the predictions of a network measure its weights: the Fisher metric, pulled back.

    .. math:: G(w) = \frac 1 N \sum_x J_w(x)^\top F(z) \, J_w(x), \qquad z = f_w(x) / T, \quad
              J_w = \partial z / \partial w

    where F is the Fisher information of the head. The length of v in this metric is the root mean
    square, over the samples, of how far the predictions move for each unit that the weights move
    along v. It is the matrix of Gauss and Newton for the log-likelihood of the head.

    Parameters
    ----------
    model : torch.nn.Module
        Maps x of shape (batch, ...) to raw outputs of shape (batch, c). Each output may depend on
        its own input only.
    x : torch.Tensor, shape (n, ...), list of torch.Tensor or torch.utils.data.DataLoader
        The samples that the mean is over, floating-point numbers or token ids. Batches are
        tensors, or tuples that begin with one, the same ones in the same order in each pass.
    head : Head
        What the raw outputs stand for.
    names : list of str or None
        Which parameters, as in ``model.named_parameters()``. None: all that are trained.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, callable, or None
        What the model takes beside x, as for `PullbackMetric`; with batches a function of a batch,
        for instance ``operator.itemgetter(1)``.
    temperature : float
        Outputs are divided by it before the head reads them.
    chunk_size : int
        How many samples are in work at once.
    group : torch.distributed.ProcessGroup or None
        Processes that share the samples: each has some of its own as x, and all of them call the
        same methods in the same order. None: x are all samples.
    check : bool
        Verify the values of inputs, outputs and gradients, and once that the model treats each
        sample by itself and that its gradients are right.

    Raises
    ------
    TypeError, ValueError
        A model whose weights cannot be replaced; names that are not those of trained parameters;
        samples, a head or settings that cannot be used.

    Notes
    -----
    Tangent vectors are tensors of shape (P,), all entries of the parameters one after the other,
    or mappings of names to tensors; results come in the same form. `flatten` and `unflatten`
    change one into the other.

    The model stays as it is: other weights are put in its place for each call
    (`torch.func.functional_call`). Results are those of the weights that it has when a method is
    called, also where it has been trained since; which parameters the metric is of is decided when
    it is made. Parameters that are tied move together and have the first of
    their names. Buffers are constants.

    With a group, sums run over the samples of all processes, and each process gets the same
    results. Factors that are decomposed as a whole are gathered in each; others stay where they
    are, and only vectors of weights travel. `joint_norm` and `explained_change` are about the
    samples of each process.

    References
    ----------
    S. Amari, Natural gradient works efficiently in learning, Neural Comput. 10, 1998.
    J. Martens, New insights and perspectives on the natural gradient method, JMLR 21, 2020.

    Examples
    --------
    A logistic model at equal odds: F = 1/4 of the logit's square.

    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False).double()
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> x = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    >>> metric = WeightMetric(model, x, heads.bernoulli)
    >>> metric.norm(torch.ones(1, dtype=torch.float64)) ** 2  # the mean of 1/4 and 9/4
    tensor(1.2500, dtype=torch.float64)
    """

    model: nn.Module
    x: Any
    head: Head = heads.categorical
    names: Sequence[str] | None = field(default=None, kw_only=True)
    inputs: Inputs | Callable[[Any], Any] = field(default=None, kw_only=True)
    temperature: float = field(default=1.0, kw_only=True)
    chunk_size: int = field(default=256, kw_only=True)
    group: Any = field(default=None, kw_only=True)
    check: bool = field(default=True, kw_only=True)
    _parts: WeightNetwork = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module) or isinstance(self.model, torch.jit.ScriptModule):
            raise TypeError(
                "model must be a torch.nn.Module whose weights can be replaced: got "
                f"{type(self.model).__name__}. Pass the module itself, not a function of it and "
                "not what torch.jit has made of it."
            )
        if isinstance(self.model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise TypeError(
                f"model must be the module itself: got {type(self.model).__name__}, whose weights "
                "cannot be replaced. Pass model.module."
            )
        if not isinstance(self.head, Head):
            raise TypeError(
                f"head must be an infogeo.pullback.Head: got {type(self.head).__name__}."
            )
        check_number("temperature", self.temperature)
        check_count("chunk_size", self.chunk_size)
        given = {item.name: getattr(self, item.name) for item in fields(self) if item.init}
        parts = WeightNetwork(**given)
        parts.check_parts()
        object.__setattr__(self, "_parts", parts)

    # ------------------------------------------------------------ vectors

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of the parameters that the metric is of, by their names."""
        return dict(self._parts.layout.shapes)

    def flatten(self, v: Mapping[str, Tensor]) -> Tensor:
        r"""Return a tangent vector that is given by names as one tensor.

        Parameters
        ----------
        v : mapping of str to torch.Tensor
            One tensor for each parameter of the metric.

        Returns
        -------
        torch.Tensor, shape (P,)
            All their entries, one after the other.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(3, 2), torch.randn(5, 3))
        >>> metric.flatten({"weight": torch.zeros(2, 3), "bias": torch.ones(2)})
        tensor([0., 0., 0., 0., 0., 0., 1., 1.])
        """
        return self._parts.layout.vector("v", v, self.check)[0]

    def unflatten(self, v: Tensor) -> dict[str, Tensor]:
        r"""Return a tangent vector, or several of them, by the names of the parameters.

        Parameters
        ----------
        v : torch.Tensor, shape (..., P)
            A vector, or several.

        Returns
        -------
        dict of str to torch.Tensor
            Of the shapes (..., \*shape).

        Raises
        ------
        ValueError
            A tensor whose last axis has another length.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(3, 2), torch.randn(5, 3))
        >>> metric.unflatten(torch.arange(8.0))["bias"]
        tensor([6., 7.])
        """
        size = len(self._parts.vector)
        if v.shape[-1:] != (size,):
            seen = f"its shape is {tuple(v.shape)}"
            raise bad_value("v", f"have {size} entries on its last axis", seen)
        return self._parts.layout.unflatten(v)

    # ------------------------------------------------------------ products

    def norm(self, v: Vector) -> Tensor:
        r"""Return the length of a tangent vector, sqrt(v' G v), from one directional derivative.

        Parameters
        ----------
        v : torch.Tensor, shape (P,), or mapping of str to torch.Tensor

        Returns
        -------
        torch.Tensor, shape ()
            Root mean square of how fast the predictions move, in radians of the sphere of radius 2
            for classes.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> metric = WeightMetric(model, torch.zeros(3, 2))
        >>> metric.norm({"weight": torch.ones(2, 2)})
        tensor(0.)
        """
        moved = torch.cat([m for m, _ in self._parts.moves("v", v)])
        shards = self._parts.shards
        largest_move = shards.largest(moved.abs().amax()).clamp(min=torch.finfo(moved.dtype).tiny)
        mean = shards.mean((moved / largest_move).double().square().sum(), len(moved))
        return (largest_move * mean.sqrt()).to(moved.dtype)

    def inner_product(self, u: Vector, v: Vector) -> Tensor:
        r"""Return the inner product of tangent vectors, u' G v, without a Jacobian.

        Parameters
        ----------
        u, v : torch.Tensor, shape (P,), or mapping of str to torch.Tensor
            Two tangent vectors.

        Returns
        -------
        torch.Tensor, shape ()
            The mean over the samples, in squared radians.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(2, 2), torch.zeros(3, 2))
        >>> u = {"weight": torch.ones(2, 2), "bias": torch.tensor([0.0, 1.0])}
        >>> bool(abs(metric.inner_product(u, u) - metric.norm(u) ** 2) < 1e-6)
        True
        """
        pairs = zip(self._parts.moves("u", u), self._parts.moves("v", v), strict=True)
        products = torch.cat([(a.double() * b.double()).sum(-1) for (a, _), (b, _) in pairs])
        mean = self._parts.shards.mean(products.sum(), len(products))
        return mean.to(self._parts.vector.dtype)

    def matvec(self, v: Vector) -> Vector:
        r"""Return G v, from one forward-mode and one backward pass.

        Parameters
        ----------
        v : torch.Tensor, shape (P,), or mapping of str to torch.Tensor

        Returns
        -------
        torch.Tensor, shape (P,), or dict of str to torch.Tensor
            As v was given.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(2, 2, bias=False), torch.ones(1, 2))
        >>> v = torch.tensor([1.0, 1.0, 1.0, 1.0])  # both logits by the same amount
        >>> bool(metric.matvec(v).abs().max() < 1e-6)
        True
        """
        vector, is_named = self._parts.layout.vector("v", v, self.check)
        return self._parts.as_given(self._parts.product(vector), is_named)

    # ------------------------------------------------------------ traces

    def diagonal(self) -> Tensor:
        r"""Return the diagonal of G, exactly: how far each weight by itself moves the predictions.

        Returns
        -------
        torch.Tensor, shape (P,)
            Squared lengths of the unit vectors; see `unflatten`.

        Raises
        ------
        TypeError, ValueError

        Notes
        -----
        From all rows of the factor, one for each sample and class but one. `hutchinson_trace` does
        with as many products as random vectors.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric, heads
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> metric = WeightMetric(model, torch.tensor([[3.0, 4.0]]), heads.normal_fixed_std(1.0))
        >>> metric.diagonal()
        tensor([ 9., 16.])
        """
        return self._parts.diagonal()

    def trace(self) -> Tensor:
        r"""Return the trace of G, exactly: the sum of its eigenvalues.

        Returns
        -------
        torch.Tensor, shape ()
            Of the dtype of the weights.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric, heads
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> WeightMetric(model, torch.tensor([[3.0, 4.0]]), heads.normal_fixed_std(1.0)).trace()
        tensor(25.)
        """
        return self.diagonal().sum()

    def trace_by_parameter(self) -> dict[str, Tensor]:
        r"""Return the part of the trace of each parameter: which of them move the predictions.

        Returns
        -------
        dict of str to torch.Tensor
            Of shape (); they sum to `trace`.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric, heads
        >>> model = torch.nn.Linear(2, 1)
        >>> metric = WeightMetric(model, torch.tensor([[3.0, 4.0]]), heads.normal_fixed_std(1.0))
        >>> metric.trace_by_parameter()
        {'weight': tensor(25.), 'bias': tensor(1.)}
        """
        return {name: part.sum() for name, part in self.unflatten(self.diagonal()).items()}

    def hutchinson_trace(
        self, *, num_samples: int = 32, generator: torch.Generator | None = None
    ) -> TraceEstimate:
        r"""Estimate the trace from random directions of the weights.

        .. math:: \mathrm{tr} \, G = \mathrm{E} \, v^\top G v, \qquad v_i = \pm 1

        Parameters
        ----------
        num_samples : int
            How many vectors v, at least 2: each costs one forward-mode pass.
        generator : torch.Generator or None
            Where the signs come from; None for torch's own.

        Returns
        -------
        TraceEstimate
            Of shape ().

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(3, 2), torch.randn(9, 3))
        >>> estimate = metric.hutchinson_trace(generator=torch.Generator().manual_seed(0))
        >>> bool(abs(estimate.values - metric.trace()) < 4.0 * estimate.standard_errors)
        True
        """
        _check_samples_count(num_samples)
        signs = self._parts.random_signs(num_samples, generator)
        return _estimate(torch.stack([self.norm(v) ** 2 for v in signs]), self.temperature)

    # ------------------------------------------------------------ the spectrum

    def spectrum(self, *, num_values: int | None = None) -> Spectrum:
        r"""Return the eigenvalues of G that can differ from 0, and their eigenvectors.

        Parameters
        ----------
        num_values : int or None
            How many, from the largest. None for all min(N r, P), where r = c - 1 for classes.

        Returns
        -------
        Spectrum
            Values of shape (k,), descending, and vectors of shape (k, P); see `unflatten`. With
            `errors` where they come from products.

        Raises
        ------
        TypeError, ValueError
            Outputs or gradients that cannot be used; all values of a metric that is too large.
        SolveError
            Block Lanczos did not converge; `result` has what was found.

        Notes
        -----
        While there are at most 4096 rows (samples times classes but one) and they fit into memory,
        or at most 4096 weights, from a singular value decomposition of the factor: small
        eigenvalues keep their relative accuracy. Rows that are more than the weights are folded
        into as many, part by part. Few values of many, and those of larger metrics, by block
        Lanczos on products.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric, heads
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        >>> WeightMetric(model, x, heads.normal_fixed_std(1.0)).spectrum().values
        tensor([8.0000, 4.5000])
        """
        if num_values is not None:
            check_count("num_values", num_values)
        limit = min(self._parts.num_rows, len(self._parts.vector))
        if num_values is not None and num_values > limit:
            raise bad_value("num_values", f"be at most {limit} here", f"got {num_values}")
        if num_values is not None and (
            _ROWS_PER_VALUE * num_values < limit or not self._parts.is_small
        ):
            return self._parts.spectrum_by_products(num_values)
        basis, triangle = triangle_of(self._parts.whole_factor())
        log_values, vectors = decompose(triangle)
        log_values, vectors = log_values[0, :num_values], vectors[0, :, :num_values]
        vectors = triangle.tensor(vectors).mT @ basis[0].mT
        return Spectrum(triangle.tensor(np.exp(log_values)), vectors, self.temperature)

    def log_spectrum(self) -> Tensor:
        r"""Return the logarithms of all values of `spectrum`, also of those that underflow.

        Returns
        -------
        torch.Tensor, shape (k,)
            Descending; -inf for an eigenvalue that is exactly 0.

        Raises
        ------
        TypeError, ValueError
            Outputs or gradients that cannot be used; a metric that is too large.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> model = torch.nn.Linear(1, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[400.0], [0.0]]))
        >>> WeightMetric(model, torch.ones(1, 1)).log_spectrum()
        tensor([-399.3069])
        """
        _, triangle = triangle_of(self._parts.whole_factor())
        return triangle.tensor(log_eigenvalues(triangle))[0]

    def effective_dimension(self, damping: float) -> Tensor:
        r"""Return tr G (G + damping)^-1, the number of directions that the data determine.

        Parameters
        ----------
        damping : float
            Positive. With a normal prior of precision q and N samples it is q / N.

        Returns
        -------
        torch.Tensor, shape ()
            Between 0 and the number of weights.

        Raises
        ------
        TypeError, ValueError
            A damping that is not positive; a metric that is too large for all its eigenvalues,
            for which `spectral_density` has an estimate.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric, heads
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> metric = WeightMetric(model, torch.eye(2), heads.normal_fixed_std(1.0))
        >>> metric.effective_dimension(0.5)  # the eigenvalues are 1/2 and 1/2
        tensor(1.)
        """
        check_number("damping", damping)
        logs = self.log_spectrum().double()
        return torch.sigmoid(logs - math.log(damping)).sum().to(self._parts.vector.dtype)

    def spectral_density(
        self,
        *,
        num_samples: int = 8,
        num_steps: int = 40,
        generator: torch.Generator | None = None,
    ) -> SpectralDensity:
        r"""Return the distribution of the eigenvalues by Lanczos quadrature from random vectors.

        Parameters
        ----------
        num_samples : int
            How many random vectors, at least 2.
        num_steps : int
            Products for each of them.
        generator : torch.Generator or None
            Where the random signs come from; None for torch's own.

        Returns
        -------
        SpectralDensity
            Its standard errors are those of the random vectors. What too few steps leave out at
            small dampings comes on top.

        Raises
        ------
        TypeError, ValueError

        References
        ----------
        S. Ubaru, J. Chen, Y. Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature,
        SIAM J. Matrix Anal. Appl. 38, 2017.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric
        >>> metric = WeightMetric(torch.nn.Linear(3, 2), torch.randn(9, 3))
        >>> density = metric.spectral_density(num_samples=4)
        >>> density.weights.sum(-1).round()
        tensor([8., 8., 8., 8.])
        """
        _check_samples_count(num_samples)
        check_count("num_steps", num_steps)
        rules = [self._rule(v, num_steps) for v in self._parts.random_signs(num_samples, generator)]
        width = max(len(values) for values, _ in rules)

        def padded(y: Tensor) -> Tensor:
            return torch.nn.functional.pad(y, (0, width - len(y)))

        values, weights = (
            torch.stack([padded(y) for y in part]) for part in zip(*rules, strict=True)
        )
        dtype = self._parts.vector.dtype
        return SpectralDensity(values.to(dtype), weights.to(dtype), self.temperature)

    def _rule(self, v: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
        """Return nodes and weights of the Gauss rule of one vector, by Lanczos in full."""
        size = len(v)
        basis = (v.double() / math.sqrt(size))[None]
        diagonal, beside = [], []
        for _ in range(min(num_steps, size)):
            image = self._parts.product(basis[-1].to(v.dtype)).double()
            diagonal.append(image @ basis[-1])
            for _ in range(2):  # twice is enough
                image = image - (basis @ image) @ basis
            length = image.norm()
            scale = torch.stack(diagonal).abs().amax()
            if length <= 100.0 * torch.finfo(v.dtype).eps * scale:
                break
            beside.append(length)
            basis = torch.cat([basis, image[None] / length])
        k = len(diagonal)
        off = torch.stack(beside[: k - 1]) if k > 1 else basis.new_zeros(0)
        tridiagonal = torch.diag(torch.stack(diagonal)) + torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(tridiagonal)
        return values, size * vectors[0] ** 2

    # Methods that are long enough for a file of their own.
    gram = weight_systems.gram
    solve = weight_systems.solve
    prediction_covariance = weight_systems.prediction_covariance
    prediction_std = weight_systems.prediction_std
    log_marginal_likelihood = weight_evidence.log_marginal_likelihood
    distance = weight_paths.distance
    length = weight_paths.length
    segment_length = weight_paths.segment_length
    joint_norm = weight_paths.joint_norm
    explained_change = weight_paths.explained_change
    match_weights = weight_matching.match_weights
    match_activations = weight_matching.match_activations
    barrier = weight_matching.barrier


def _check_samples_count(num_samples: int) -> None:
    check_count("num_samples", num_samples)
    if num_samples < 2:
        raise bad_value("num_samples", "be at least 2", f"got {num_samples}")


def _estimate(values: Tensor, temperature: float) -> TraceEstimate:
    values = values.double()
    error = values.std() / math.sqrt(len(values))
    return TraceEstimate(values.mean(), error, len(values), temperature)


finish(
    globals(),
    {
        "v : torch.Tensor, shape (P,), or mapping of str to torch.Tensor": (
            "A tangent vector: as one tensor or by the names of the parameters."
        ),
        "TypeError, ValueError": "Vectors, outputs or gradients that cannot be used.",
    },
)
