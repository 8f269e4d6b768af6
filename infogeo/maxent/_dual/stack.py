"""Results of a batch: filled member by member, returned in arrays of the user's library."""

import math
from dataclasses import replace

import numpy as np
from array_api_compat import device

from infogeo._status import Status, worst
from infogeo.maxent._dual.batch import solve_dependent, solve_members
from infogeo.maxent._dual.box import solve_box
from infogeo.maxent._dual.boxes import solve_boxes
from infogeo.maxent._dual.problem import Problem
from infogeo.maxent._dual.projection import Projection
from infogeo.maxent._dual.single import solve
from infogeo.maxent._wording import Message

_NUMBERS = ("log_partition", "value", "entropy", "residual", "error_bound", "dual_gap")


class Solutions:
    """The fields of a Projection for all members of a batch, as float64 arrays."""

    def __init__(self, num_members, num_features, num_outcomes):
        self.probabilities = np.zeros((num_members, num_outcomes))
        self.log_probabilities = np.full((num_members, num_outcomes), -math.inf)
        self.theta = np.zeros((num_members, num_features))
        self.support = np.zeros((num_members, num_outcomes), dtype=bool)
        self.certificate = np.full((num_members, num_features), np.nan)
        self.direction = np.full((num_members, num_features), np.nan)
        for name in _NUMBERS:
            setattr(self, name, np.zeros(num_members))
        self.rank = np.zeros(num_members, dtype=int)
        self.steps = np.zeros(num_members, dtype=int)
        self.status = np.full(num_members, None, dtype=object)
        self.transforms = [None] * num_members  # theta = transform @ t, for the gradients
        self.diagnoses = [Message("")] * num_members

    def put_members(self, members, allowed):
        """Take over what was solved together."""
        index = members.index
        for name in ("probabilities", "log_probabilities", "theta", "steps", *_NUMBERS):
            getattr(self, name)[index] = getattr(members, name)
        self.support[index] = allowed[index]
        self.rank[index] = members.rank
        self.status[index] = Status.CONVERGED
        for k, scale in zip(index, members.scale, strict=True):
            self.transforms[k] = scale

    def put(self, k, solution):
        """Take over the solution of one problem."""
        for name in ("probabilities", "log_probabilities", "theta", "support", *_NUMBERS):
            getattr(self, name)[k] = getattr(solution, name)
        self.rank[k], self.steps[k] = solution.rank, solution.steps
        self.status[k] = solution.status
        if solution.certificate is not None:
            self.certificate[k] = solution.certificate
        if solution.direction is not None:
            self.direction[k] = solution.direction
        self.transforms[k] = solution.transform
        self.diagnoses[k] = solution.diagnosis

    @property
    def failed(self):
        """Which members have no solution."""
        return tuple(k for k, status in enumerate(self.status) if not status.is_solution)


def solve_all(problem, controls, lower=None, upper=None, sparse=None):
    """Solve a batch: a Problem, and bounds, whose arrays have the same leading axes.

    Sparse features take the place of those of every member.
    """
    problem, lower, upper = _flattened(problem, lower, upper)
    solutions = Solutions(*problem.features.shape)
    if len(solutions.status) > 1 and problem.penalty is sparse is None:
        allowed = ~np.isneginf(problem.log_base)
        for members in _solved_together(problem, controls, lower, upper, solutions):
            solutions.put_members(members, allowed)
    for k in np.flatnonzero(np.equal(solutions.status, None)):
        member = problem.member(k)
        if sparse is not None:
            member = replace(member, features=sparse)
        if lower is None:
            solutions.put(k, solve(member, controls))
        else:
            solutions.put(k, solve_box(member, lower[k], upper[k], controls))
    return solutions


def _solved_together(problem, controls, lower, upper, solutions):
    """Yield the members of a batch that are solved together; the caller takes each over at once."""
    if lower is not None:
        yield from solve_boxes(problem, lower, upper, controls)
        return
    yield from solve_members(problem, controls)
    left = np.flatnonzero(np.equal(solutions.status, None))
    if left.size > 1 and problem.features.strides[0] == 0:
        yield from solve_dependent(problem, left, controls)


def _flattened(problem, lower, upper):
    """Return the problem and the bounds with one batch axis, without copying shared features."""
    *batch, num_features, num_outcomes = problem.features.shape
    count, F = math.prod(batch), problem.features
    if count and all(n == 1 or s == 0 for n, s in zip(batch, F.strides, strict=False)):
        F = np.broadcast_to(F[(0,) * len(batch)], (count, num_features, num_outcomes))
    targets, start, penalty, noise, lower, upper = (
        None if x is None else x.reshape(count, num_features)
        for x in (problem.targets, problem.start, problem.penalty, problem.noise, lower, upper)
    )
    flat = Problem(
        F.reshape(count, num_features, num_outcomes),
        targets,
        problem.log_base.reshape(count, num_outcomes),
        problem.roundoff,
        start,
        penalty,
        noise,
    )
    return flat, lower, upper


def stack(solutions, shape, like, xp):
    """Return the solutions in arrays of the user's library, dtype and device."""
    *batch, num_features, num_outcomes = shape

    def collect(values, *axes, dtype=like.dtype):
        values = values.reshape((*batch, *axes))
        with np.errstate(over="ignore"):
            array = xp.asarray(values, dtype=dtype, device=device(like))
        return array if values.ndim else array[()]

    def vectors(values):
        return None if np.isnan(values).all() else collect(values, num_features)

    # The bound is on the numbers as they are returned.
    if xp.finfo(like.dtype).bits < 64:
        sizes = np.where(solutions.support, -solutions.log_probabilities, 0.0)
        longest = sizes.max(axis=-1, initial=0.0)
        solutions.error_bound += float(xp.finfo(like.dtype).eps) * (1.0 + longest)
    return Projection(
        probabilities=collect(solutions.probabilities, num_outcomes),
        log_probabilities=collect(solutions.log_probabilities, num_outcomes),
        theta=collect(solutions.theta, num_features),
        **{name: collect(getattr(solutions, name)) for name in _NUMBERS},
        status=worst(s for s in Status if (solutions.status == s).any()),
        support=collect(solutions.support, num_outcomes, dtype=xp.bool),
        rank=collect(solutions.rank, dtype=None),
        steps=collect(solutions.steps, dtype=None),
        certificate=vectors(solutions.certificate),
        direction=vectors(solutions.direction),
        member_status=solutions.status.reshape(batch),
    )
