"""What an exponential family asks of its arguments, and the results of its solves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array
from infogeo._array import UNIT_INTERVAL, VECTOR, Array, Namespace, bad_value
from infogeo._result import Result, Shown
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.manifolds import _envelope
from infogeo.manifolds._potential import Potential, over, theta_of_means
from infogeo.manifolds._potential_curves import CurveMetric, Found, between, flow, on_line

PARAMETERS = replace(VECTOR, events="parameters")


@storable("manifolds.Geodesic")
@dataclass(frozen=True, eq=False, repr=False)
class Geodesic(Result):
    """The geodesic between two points of a family, with an estimate of its error.

    Parameters
    ----------
    distance : array, shape (...)
        The length of the curve that was found.
    error : array, shape (...)
        An estimate of its relative error: the square of how far the curve turns, over 8, which is a
        bound in families whose curvature is not positive; and what the second derivative of the
        log-partition and differences of the first one leave in doubt.
    initial_velocity, final_velocity : array, shape (..., k)
        At the first point (the log map) and on arrival at the second one.
    steps : int array, shape (...)
        Newton steps.
    status : Status
        CONVERGED if each error is below what was asked for, else MAX_STEPS.
    """

    distance: Array
    error: Array
    initial_velocity: Array
    final_velocity: Array
    steps: Array
    status: Status


@dataclass(frozen=True, repr=False)
class Family(Shown):
    """A log-partition with the chart of its points; `ExponentialFamily` says what they are."""

    log_partition: Callable[[Any], Any]
    to_natural: Callable[[Any], Any] | None = None
    from_natural: Callable[[Any], Any] | None = None

    POINTS: ClassVar = PARAMETERS

    def __post_init__(self) -> None:
        if (self.to_natural is None) != (self.from_natural is None):
            raise TypeError("to_natural and from_natural must be given together, or neither.")
        for name in ("log_partition", "to_natural", "from_natural"):
            value = getattr(self, name)
            if not callable(value) and (value is not None or name == "log_partition"):
                raise TypeError(f"{name} must be a function: got {type(value).__name__}.")

    @property
    def _potential(self) -> Potential:
        return Potential(self.log_partition, self.to_natural, self.from_natural)

    def _gate(
        self, check: bool, points: dict[str, Any], *, has_inverse: bool = False, **others: Any
    ) -> tuple[Any, ...]:
        """Return what gives a result back, and all arguments as tensors of float64."""
        given = {name: (PARAMETERS, x) for name, x in (points | others).items()}
        _, *arrays = _array.gate(check, **given)
        named = dict(zip(points, arrays, strict=False))
        self._require_points(check, has_inverse=has_inverse, **named)
        return wide(*arrays)

    def _gate_ends(self, check: bool, a: Any, b: Any, rtol: float) -> tuple[Any, ...]:
        if not (isinstance(rtol, int | float | np.number) and 0.0 < rtol < 1.0):
            raise bad_value("rtol", "be a number between 0 and 1", f"got {rtol!r}")
        xp, a, b = _array.gate(check, a=(PARAMETERS, a), b=(PARAMETERS, b))
        self._require_points(check, has_inverse=True, a=a, b=b)
        return xp, a, b

    def _gate_path(self, check: bool, a: Any, b: Any, t: Any) -> tuple[Any, ...]:
        kinds = {"a": (PARAMETERS, a), "b": (PARAMETERS, b), "t": (UNIT_INTERVAL, t)}
        xp, a, b, t = _array.gate(check, **kinds)
        self._require_points(check, has_inverse=True, a=a, b=b)
        return xp, a, b, t

    def _require_points(
        self, check: bool, *, has_inverse: bool = False, advice: str = "", **points: Array
    ) -> None:
        """Raise unless the family has these points, with an invertible metric if it is needed."""
        if not check or not all(map(_array.is_readable, points.values())):
            return
        for name, array in points.items():
            x = wide(array)[1].detach()
            theta = self._called("to_natural", x)
            again = self._called("from_natural", theta)
            self._require_domain(name, theta, again, advice)
            wrong = ((again - x).abs() > 1e-3 * (1.0 + x.abs())).any(-1).cpu().numpy()
            if wrong.any():
                seen = f"of {name}{_array.row(wrong)} it gives other parameters"
                raise bad_value("from_natural", "be the inverse of to_natural", seen)
            if has_inverse:
                self._require_metric(name, x)
            else:
                self._require_variances(name, theta)

    def _called(self, name: str, x: Any) -> Any:
        """Return one of the three functions at all points, or say why torch cannot use it."""
        import torch

        function = getattr(self, name)
        if function is None:
            return x

        def checked(point: Any) -> Any:
            made = function(point)
            shape = () if name == "log_partition" else tuple(point.shape)
            seen = f"an object of class {type(made).__name__}"
            if isinstance(made, torch.Tensor):
                if tuple(made.shape) == shape and made.dtype == point.dtype:
                    return made
                seen = f"one of shape {tuple(made.shape)} and {made.dtype}"
            axes = "without axes" if name == "log_partition" else f"of shape {shape}"
            raise TypeError(
                f"{name} must return a tensor {axes} and of {point.dtype} for one point (k,): "
                f"it returns {seen}."
            )

        try:
            # Even where the caller wants no gradients, the function has to let them through.
            with torch.inference_mode(False), torch.enable_grad():
                made = over(checked, x.clone().requires_grad_())
        except RuntimeError as error:
            raise TypeError(
                f"{name} must be made of functions of torch, for tensors of {x.dtype}, and must "
                f"not ask for values: torch.func.vmap says: {error}"
            ) from error
        if not made.requires_grad and x.numel():
            raise TypeError(
                f"{name} must depend on its argument by functions that torch differentiates: it "
                "has no derivative. Leave out detach, no_grad and what makes new tensors."
            )
        return made.detach()

    def _require_domain(self, name: str, theta: Any, points: Any, advice: str = "") -> None:
        values = self._called("log_partition", theta)
        wrong = ~(values.isfinite() & points.isfinite().all(-1)).cpu().numpy()
        if wrong.any():
            seen = f"the log-partition is {float(values.flatten()[np.flatnonzero(wrong)[0]]):.6g}"
            rule = "lie in the domain of the family"
            raise bad_value(name, rule, f"{seen} there", advice, where=wrong)

    def _require_variances(self, name: str, theta: Any) -> None:
        """Raise where a statistic would have a variance below 0, beyond rounding of its square."""
        variances = over(self._potential.hessian, theta).diagonal(dim1=-2, dim2=-1)
        squares = over(self._potential.slope, theta) ** 2
        wrong = (variances < -1e-10 * squares).any(-1).cpu().numpy()
        if wrong.any():
            seen = f"at {name} it curves down{_array.row(wrong)}"
            advice = (
                "The sign may be wrong: log_partition is the logarithm of a sum or an integral."
            )
            raise bad_value("log_partition", "be convex", seen, advice)

    def _require_metric(self, name: str, x: Any) -> None:
        matrix = over(self._potential.information, x)
        scale = matrix.diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt()
        unit = (matrix / scale[..., None] / scale[..., None, :]).nan_to_num(0.0, 0.0, 0.0)
        wrong = ~(np.linalg.eigvalsh(unit.cpu().numpy())[..., 0] > 1e-14)
        if wrong.any():
            raise bad_value(
                "log_partition",
                "have a positive definite second derivative",
                f"at {name} it has none{_array.row(wrong)}",
                "Leave out statistics that depend on the others, and points at the edge.",
            )

    def _from_means(self, eta: Any, start: Any) -> Any:
        """Return the points whose statistics have these means, from natural parameters."""
        shape = np.broadcast_shapes(eta.shape, start.shape)
        if 0 in shape:
            return over(self._potential.point, eta.broadcast_to(shape))
        flat = (x.broadcast_to(shape).reshape(-1, shape[-1]) for x in (eta, start))
        theta, left = theta_of_means(self._potential, *flat)
        made = over(self._potential.point, theta.reshape(shape))
        if left.isfinite().all():
            return made
        failed = np.flatnonzero(~left.isfinite().cpu().numpy())
        row = f" (row {failed[0]})" if len(shape) > 1 else ""
        raise SolveError(
            f"No member of the family was found with the means eta{row}: either none has them, "
            "or they are so near to such means that rounding hides the difference.",
            made,
            tuple(int(i) for i in failed) if len(shape) > 1 else None,
        )

    def _flow(self, device: Any, *arrays: np.ndarray) -> list[np.ndarray]:
        """Return the ends of geodesics, and the vectors there."""
        arrays = np.broadcast_arrays(*arrays)
        flat = (x.reshape(-1, x.shape[-1]) for x in arrays)
        arrived = flow(CurveMetric(self._potential, device), *flat)
        return [x.reshape(arrays[0].shape) for x in arrived]

    def _followed(self, device: Any, *arrays: np.ndarray) -> list[np.ndarray]:
        """Return what `_flow` does, and raise where a geodesic cannot be followed."""
        arrived = self._flow(device, *arrays)
        is_lost = ~np.isfinite(arrived[0]).all(-1)
        if not is_lost.any():
            return arrived
        raise SolveError(
            f"The geodesic{_array.row(is_lost)} bends too much in these parameters to be followed. "
            "Choose parameters in which geodesics bend less, or take the distance alone.",
            arrived[0],
            tuple(int(i) for i in np.flatnonzero(is_lost)) if is_lost.ndim else None,
        )

    def _found(
        self, x: np.ndarray, y: np.ndarray, rtol: float, device: Any, *, has_ends: bool
    ) -> Found:
        x, y = (z.reshape(-1, z.shape[-1]) for z in np.broadcast_arrays(x, y))
        metric = CurveMetric(self._potential, device)
        if x.shape[-1] == 1 and x.size:
            return on_line(metric, x, y)
        return between(metric, x, y - x, rtol, has_ends=has_ends)

    def _result(
        self,
        found: Found,
        shape: tuple[int, ...],
        rtol: float,
        throw: bool,
        like: Array,
        xp: Namespace,
    ) -> Geodesic:
        def back(x: np.ndarray, *event: int) -> Array:
            return _envelope.as_like(x.reshape((*shape[:-1], *event)), like, xp)

        is_solved = found.error <= rtol
        steps = xp.asarray(found.steps.reshape(shape[:-1]), device=_array.device_of(like))
        result = Geodesic(
            back(found.length),
            back(found.error),
            back(found.start, shape[-1]),
            back(found.end, shape[-1]),
            _array.as_number(steps),
            Status.CONVERGED if is_solved.all() else Status.MAX_STEPS,
        )
        if throw and not is_solved.all():
            raise _solve_error(result, found, is_solved, rtol)
        return result


def wide(*arrays: Array) -> tuple[Any, ...]:
    """Return what gives a result back as the first array is, and arrays as tensors of float64."""
    import torch

    first, xp = arrays[0], array_namespace(arrays[0])

    def back(result: Any) -> Array:
        if isinstance(first, torch.Tensor):
            return result.to(first.dtype)
        return _envelope.as_like(result.detach().numpy(), first, xp)

    tensors = (
        x.to(_array.widest_dtype(x, xp))
        if isinstance(x, torch.Tensor)
        else torch.tensor(_envelope.to_host(x))
        for x in arrays
    )
    return (back, *tensors)


def torch_device(x: Array) -> Any:
    return _array.device_of(x) or "cpu"


def _solve_error(result: Geodesic, found: Found, is_solved: np.ndarray, rtol: float) -> SolveError:
    failed = np.flatnonzero(~is_solved)
    first = failed[0]
    if np.isfinite(found.error[first]):
        seen = f"{found.length[first]:.10g} with an error of {found.error[first]:.2g}, relative"
    else:
        seen = "no curve was found"
    which = "" if is_solved.size == 1 else f" for {failed.size} of {is_solved.size} pairs"
    return SolveError(
        f"rtol={rtol:.2g} is out of reach{which}: at {first} {seen}. Raise rtol to accept that, "
        "take connect(a, b, throw=False), or choose parameters in which geodesics bend less and "
        "of which all numbers are allowed.",
        result,
        None if is_solved.size == 1 else tuple(int(i) for i in failed),
    )
