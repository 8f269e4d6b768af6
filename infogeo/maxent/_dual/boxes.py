"""Many problems with bounds at once: which bounds are met is found together.

A round solves the members with the bounds that they are thought to meet as targets: those that meet
bounds of the same features are one batch. Bounds that are violated are added, those that push the
wrong way are dropped. A member is solved when nothing changes; its optimum is unique, so that it
does not matter how the bounds were found. What this leaves open is solved one by one.
"""

from dataclasses import replace

import numpy as np

from infogeo.maxent._dual.batch import solve_members
from infogeo.maxent._dual.box import corrected, slack_of

# Most members settle in three or four rounds; those that go round in a cycle never do.
_MAX_ROUNDS = 12
# Fewer members that meet bounds of the same features gain nothing from company.
_FEWEST_MEMBERS = 2


def solve_boxes(problem, lower, upper, controls):
    """Yield the members of a batch whose bounds settle, as `infogeo.maxent._dual.batch.Members`.

    Parameters
    ----------
    problem : Problem
        With one batch axis; the features may be a broadcast view.
    lower, upper : arrays, shape (n, m)
        The bounds, infinite where there is none.
    controls : Controls
        As for a single problem.
    """
    side = np.where(lower == upper, 1, 0)
    steps, is_open = np.zeros(len(side), dtype=int), np.ones(len(side), dtype=bool)
    sizes = _sizes(problem)
    for _ in range(_MAX_ROUNDS):
        (left,) = np.nonzero(is_open)
        is_open[:] = False
        patterns, which = np.unique(side[left] != 0, axis=0, return_inverse=True)
        for k, is_met in enumerate(patterns):
            group = left[which.reshape(-1) == k]
            if group.size < _FEWEST_MEMBERS:
                continue
            for members in solve_members(_targeted(problem, group, side, lower, upper), controls):
                members = _widened(members, group, is_met)
                index = members.index
                steps[index] += members.steps
                mean = _means(problem.features, index, members.probabilities)
                slack = slack_of(problem, sizes[index], mean, members.error_bound[:, None])
                box = lower[index], upper[index]
                changed = corrected(side[index], members.theta, mean, *box, slack)
                is_settled = (changed == side[index]).all(axis=-1)
                side[index], is_open[index] = changed, ~is_settled
                yield members.take(np.flatnonzero(is_settled), steps=steps[index])
        if not is_open.any():
            return


def _sizes(problem):
    """Return the largest entry of every feature among the outcomes that are allowed, (n, m)."""
    allowed = ~np.isneginf(problem.log_base)
    is_one = problem.features.strides[0] == 0 and allowed.all()
    F = problem.features[:1] if is_one else problem.features
    sizes = np.max(np.abs(F), axis=-1, where=allowed[: len(F), None], initial=0.0)
    return np.broadcast_to(sizes, problem.targets.shape)


def _targeted(problem, group, side, lower, upper):
    """Return the problems of a group whose targets are the bounds that they are thought to meet."""
    (met,) = np.nonzero(side[group[0]])
    targets = np.where(side[group] > 0, lower[group], upper[group])[:, met]
    if problem.features.strides[0] == 0:
        shape = (group.size, met.size, problem.features.shape[-1])
        features = np.broadcast_to(problem.features[0, met], shape)
    else:
        features = problem.features[np.ix_(group, met)]
    return replace(
        problem,
        features=features,
        targets=targets,
        log_base=problem.log_base[group],
        start=None if problem.start is None else problem.start[np.ix_(group, met)],
        noise=None if problem.noise is None else problem.noise[np.ix_(group, met)],
    )


def _widened(members, group, is_met):
    """Return solved members of a group as members of the batch, with 0 for bounds not met."""
    (met,) = np.nonzero(is_met)
    theta = np.zeros((members.index.size, is_met.size))
    theta[:, met] = members.theta
    transforms = np.zeros((members.index.size, is_met.size, met.size))
    transforms[:, met, np.arange(met.size)] = 1.0 / members.scale
    return replace(members, index=group[members.index], theta=theta, scale=transforms)


def _means(features, index, p):
    """Return the expectations of all features, (n, m)."""
    if features.strides[0] == 0:
        return p @ features[0].T
    return (features[index] @ p[:, :, None])[:, :, 0]
