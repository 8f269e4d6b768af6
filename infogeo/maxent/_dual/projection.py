"""What a solve returns: the distribution, and the numbers that prove it."""

from dataclasses import dataclass

import numpy as np

from infogeo._array import Array, on_host
from infogeo._result import Result
from infogeo._status import Status
from infogeo._system.registry import storable


@storable("Projection")
@dataclass(frozen=True, eq=False, repr=False)
class Projection(Result):
    """The distribution that constraints single out, with the proof of its accuracy.

    Parameters
    ----------
    probabilities : array, shape (..., c)
        The point p* where E_C and M_D meet.
    theta : array, shape (..., m)
        Its natural parameters: log p* = C + theta'F - log_partition.
    log_partition : array, shape (...)
        psi(theta), in nats.
    value : array, shape (...)
        H(p*) + E_p*[C], the maximum, in nats.
    entropy : array, shape (...)
        H(p*), in nats.
    residual : array, shape (...)
        The largest violation of E[F_i] = b_i, in the units of F_i.
    error_bound : array, shape (...)
        Certified: no entry of ``log_probabilities`` on the support is off by more than this; inf
        if the solve did not come close enough for a certificate. It is the relative error of
        every probability that the dtype holds with all its digits.
    dual_gap : array, shape (...)
        Certified upper bound on KL(p*, probabilities), in nats.
    status : Status
        How the solve ended; for a batch the worst of its members.
    support : bool array, shape (..., c)
        Where p* is positive, be it too small for the dtype of the probabilities.
    rank : int array, shape (...)
        The number of independent constraints.
    steps : int array, shape (...)
        Newton steps taken.
    log_probabilities : array, shape (..., c)
        log p*, in nats: -inf off the support, finite on it also where the probability is too
        small for its dtype.
    certificate : array, shape (..., m), or None
        A vector eta over the features that proves infeasibility: eta'(F_y - b) > 0 for every
        outcome, or eta'F constant and different from eta'b. None if there is nothing to prove;
        NaN for the members of a batch that have none.
    direction : array, shape (..., m), or None
        On the boundary, a vector eta over the features that exposes the face: eta'(F_y - b) is 0
        for the outcomes of the support and positive for the others that log_base allows.
        theta - s eta is the theta of the limit s -> inf. None if nothing is on the boundary; NaN
        for the members of a batch that are not.
    member_status : numpy array of Status, shape (...)
        How each member of a batch ended.
    """

    probabilities: Array
    theta: Array
    log_partition: Array
    value: Array
    entropy: Array
    residual: Array
    error_bound: Array
    dual_gap: Array
    status: Status
    support: Array
    rank: Array
    steps: Array
    log_probabilities: Array
    certificate: Array | None = None
    direction: Array | None = None
    member_status: np.ndarray | None = None

    def __str__(self) -> str:
        batch = tuple(self.rank.shape)
        lines = [
            f"Projection: {self.status.value}{f' (the worst of a batch {batch})' if batch else ''}",
            f"outcomes {self.probabilities.shape[-1]}, features {self.theta.shape[-1]}, "
            f"rank {_span(self.rank, '.0f')}, steps {_span(self.steps, '.0f')}",
            f"violation of the constraints {_span(self.residual, '.2g')}",
            f"error of every log-probability at most {_span(self.error_bound, '.2g')}",
            f"entropy {_span(self.entropy, '.6g')} nats, H + E[C] {_span(self.value, '.6g')} nats",
        ]
        if self.direction is not None:
            lines.append(_vanishing(self.direction, self.support))
        if self.certificate is not None:
            lines.append(_clash(self.certificate))
        return "\n  ".join(lines)


def _span(x: Array, form: str) -> str:
    """Write one number, or the smallest and the largest of a batch."""
    numbers = np.asarray(on_host(x))
    if numbers.size == 0:
        return "none"
    low, high = format(float(numbers.min()), form), format(float(numbers.max()), form)
    return low if low == high else f"{low} to {high}"


def _vanishing(directions: Array, supports: Array) -> str:
    """Say which outcomes vanish and why: of the first such problem, if it is a batch."""
    first, eta, member = _first_member(directions)
    supports = np.asarray(on_host(supports))
    on = supports.reshape(-1, supports.shape[-1])[first]
    numbers = np.flatnonzero(~on)
    more = ", ..." if numbers.size > 8 else ""
    listed = ", ".join(str(y) for y in numbers[:8])
    return (
        f"{member}{numbers.size} of {on.size} outcomes have probability 0: {listed}{more}; "
        f"{_combination(eta)} is nowhere below its target, and above it there"
    )


def _clash(certificates: Array) -> str:
    """Say which features clash: in the first certificate, if it is a batch."""
    _, eta, member = _first_member(certificates)
    return f"{member}{_combination(eta)} is above its target for every outcome"


def _first_member(vectors: Array) -> tuple[int, np.ndarray, str]:
    """Return the first member of a batch that has a vector, and how to call it."""
    vectors = np.asarray(on_host(vectors))
    rows = vectors.reshape(-1, vectors.shape[-1])
    first = int(np.argmin(np.isnan(rows).any(axis=-1)))
    return first, rows[first], f"problem {first} of the batch: " if vectors.ndim > 1 else ""


def _combination(eta: np.ndarray) -> str:
    (features,) = np.nonzero(eta)
    terms = " ".join(f"{eta[i]:+.4g} F[{i}]" for i in features[:6])
    return terms + (" ..." if features.size > 6 else "")
