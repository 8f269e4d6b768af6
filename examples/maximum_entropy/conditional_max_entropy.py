"""What training with cross-entropy converges to, and which C is a regulariser: in numbers
=======================================================================================

It needs scikit-learn, torch and a few seconds, and draws what gradient descent does on data that
overlap and on data that do not, into conditional_max_entropy.png or into ``--figure FILE``.
"""

import argparse

import numpy as np
import scipy.optimize
import torch
from sklearn.datasets import load_digits, load_iris

from infogeo import logits, maxent

RATE = 1.0


def main(figure=None):
    """Print the four answers; draw the figure if a file is named."""
    overlap = linear_model_on_overlapping_classes()
    last_layer_of_a_network()
    separable = linear_model_on_separable_classes()
    which_c_is_a_regulariser()
    if figure:
        draw(overlap, separable, figure)


# ---------------------------------------------------------------- data and gradient descent


def iris(*classes):
    """Return the standardised features of some kinds of iris, and their labels from 0."""
    X, y = load_iris(return_X_y=True)
    kept = np.isin(y, classes)
    X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def with_constant(X):
    """Return the columns with a constant one beside them."""
    return np.hstack([X, np.ones((len(X), 1))])


def log_softmax(z):
    """Return the log-probabilities of logits."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def descend(X, y, marks):
    """Minimise the mean cross-entropy of a linear softmax model by gradient descent from 0.

    Yields the step and theta (d, c) at the given steps.
    """
    targets = np.eye(y.max() + 1)[y]
    theta = np.zeros((X.shape[1], targets.shape[1]))
    for step in range(1, max(marks) + 1):
        theta -= RATE * X.T @ (np.exp(log_softmax(X @ theta)) - targets) / len(X)
        if step in marks:
            yield step, theta.copy()


def descend_fast(signed, marks):
    """Minimise the same for two separable classes, with steps divided by the mean of 1 - p(label).

    That is the same path, faster: plain steps die out with the loss, and the norm grows like the
    logarithm of their number. `signed` holds the samples times +1 or -1, theta is a difference.
    """
    theta = np.zeros(signed.shape[1])
    for step in range(1, max(marks) + 1):
        log_miss = -np.logaddexp(0.0, signed @ theta)  # log(1 - p(label))
        shares = np.exp(log_miss - log_miss.max())
        theta += RATE * shares @ signed / shares.sum()
        if step in marks:
            yield step, theta.copy()


# ---------------------------------------------------------------- 1. overlapping classes


def linear_model_on_overlapping_classes():
    """Compare gradient descent with the exact solution."""
    X, y = iris(1, 2)
    exact = maxent.conditional(X, y)
    print("1. A linear softmax model on two kinds of iris that overlap")
    print(f"   the exact solution: entropy {exact.entropy:.6f}, cross-entropy ", end="")
    print(f"{exact.cross_entropy:.6f}, log-probabilities off by at most {exact.error_bound:.0e}")
    print("   gradient descent    worst log-probability off by    moments off by")
    path = []
    targets, columns = np.eye(2)[y], with_constant(X)
    for step, theta in descend(columns, y, {10, 100, 1_000, 10_000, 100_000}):
        log_p = log_softmax(columns @ theta)
        error = np.abs(log_p - np.log(exact.probabilities)).max()
        off = np.abs(columns.T @ (targets - np.exp(log_p))).max() / len(X)
        print(f"   {step:10,} steps {error:24.1e} {off:24.1e}")
        path.append((step, error))
    print("   It converges to the maximum-entropy solution for C = 0.\n")
    return path


# ---------------------------------------------------------------- 2. a network


def last_layer_of_a_network():
    """Compare the last layer of a trained network with the solution for its own features."""
    penalty = 1e-3
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16.0), torch.tensor(y)
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh()).double()
    last = torch.nn.Linear(16, 10).double()
    parameters = [*body.parameters(), *last.parameters()]
    optimiser = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(last(body(X)), y)
        value = value + penalty / 2 * last.weight.square().sum()
        value = value + penalty / 2 * sum(w.square().sum() for w in body.parameters())
        value.backward()
        return value

    print("2. The last layer of a network (64-16-10, digits, weight decay 0.001)")
    print("   trained for         log-probabilities off by       off by weight decay x theta")
    for rounds in (1, 4, 15):
        for _ in range(rounds):
            optimiser.step(loss)
        with torch.no_grad():
            hidden, p = body(X), torch.softmax(last(body(X)), dim=1)
        exact = maxent.conditional(hidden, y, penalty=penalty)
        error = (p.log() - exact.probabilities.log()).abs()
        moments = (torch.nn.functional.one_hot(y, 10) - p).T @ hidden / len(y)
        slack = (moments - penalty * last.weight.detach()).abs().max()
        print(f"   {rounds:3} more rounds {float(error.median()):12.1e} (median)", end="")
        print(f" {float(slack):24.1e}")
    print("   As training converges, the last layer becomes the solution for the features that the")
    print("   layers before it make; its moments miss those of the data by weight decay x theta.\n")


# ---------------------------------------------------------------- 3. separable classes


def widest_margin(signed):
    """Return the shortest w with signed w >= 1: the least distance problem, by NNLS."""
    stacked = np.vstack([signed.T, np.ones(len(signed))])
    goal = np.append(np.zeros(signed.shape[1]), 1.0)
    residual = stacked @ scipy.optimize.nnls(stacked, goal)[0] - goal
    return -residual[:-1] / residual[-1]


def linear_model_on_separable_classes():
    """Follow gradient descent where there is no finite solution."""
    X, y = iris(0, 1)
    exact = maxent.conditional(X, y)
    print("3. The same on two kinds that a plane separates")
    print(f"   {exact.status.value}\n   {exact.separation}")
    columns = with_constant(X)
    signed = columns * np.where(y == 1, 1.0, -1.0)[:, None]
    widest = widest_margin(signed)
    widest /= np.linalg.norm(widest)
    print(
        "   gradient descent       norm of theta   angle to the widest margin   log10 of the loss"
    )
    path = []

    def report(kind, step, theta):
        angle = np.degrees(
            np.arctan2(np.linalg.norm(theta - (theta @ widest) * widest), theta @ widest)
        )
        loss = np.logaddexp.reduce(-np.logaddexp(0.0, signed @ theta)) - np.log(len(y))
        norm = np.linalg.norm(theta)
        print(f"   {kind} {step:8,} steps {norm:12.4g} {angle:20.3f} degrees ", end="")
        print(f"{loss / np.log(10.0):18.4g}")
        return step, norm, angle

    for step, theta in descend(columns, y, {100, 10_000}):
        report("plain", step, theta[:, 1] - theta[:, 0])
    for step, theta in descend_fast(signed, {1, 10, 100, 1_000, 10_000}):
        path.append(report("fast ", step, theta))
    print(
        "   The norm diverges, the direction tends to the widest margin, and the probabilities to"
    )
    print("   the limit that maxent.conditional returns.\n")
    return path


# ---------------------------------------------------------------- 4. C


def which_c_is_a_regulariser():
    """Show what a C changes and what it does not, beside penalties and label smoothing."""
    X, y = iris(1, 2)
    n = len(X)
    labels = np.eye(2)[y]

    def moments(p):
        return p.T @ X / n

    def kl(p, q):
        return np.where(p > 0.0, p * (np.log(np.maximum(p, 1e-300)) - np.log(q)), 0.0).sum() / n

    plain = maxent.conditional(X, y)
    print("4. Which C is a regulariser? Against the solution for C = 0:")

    def report(name, found):
        change = np.abs(found.probabilities - plain.probabilities).max()
        off = np.abs(moments(labels) - moments(found.probabilities)).max()
        print(f"   {name:42} moments move by {off:7.1e}, probabilities by {change:7.1e}")

    linear = X @ np.array([[1.0, -1.0], [0.0, 2.0], [3.0, 0.0], [0.0, 0.0]]) + [0.3, -0.3]
    report("a C that is linear in x", maxent.conditional(X, y, log_base=linear))
    # A prior that no linear model is: nearest centres by absolute distances.
    distances = [np.abs(X - X[y == k].mean(axis=0)).sum(axis=1) for k in (0, 1)]
    prior = -np.stack(distances, axis=1)
    by_prior = maxent.conditional(X, y, log_base=prior)
    report("C = logits of a model that is not linear", by_prior)
    decayed = maxent.conditional(X, y, penalty=0.05)
    report("weight decay 0.05, C = 0", decayed)
    smooth = maxent.conditional(X, 0.9 * labels + 0.05)
    report("label smoothing 0.1, C = 0", smooth)
    both = maxent.conditional(X, y, log_base=prior, penalty=1e4)
    q = logits.to_simplex(prior + both.intercept)
    print("   The nearest to the prior in KL, among all with the data's moments (Pythagoras):")
    to_prior = logits.to_simplex(prior)
    left = kl(labels, to_prior)
    right = kl(labels, by_prior.probabilities), kl(by_prior.probabilities, to_prior)
    print(f"      KL(labels, prior) = {left:.12f}")
    print(f"      KL(labels, p*) + KL(p*, prior) = {right[0]:.12f} + {right[1]:.12f}")
    print(f"                                     = {sum(right):.12f}")
    nearer = kl(plain.probabilities, to_prior)
    print(f"      KL(the solution for C = 0, prior) = {nearer:.6f} is larger than {right[1]:.6f}")
    slack = moments(labels) - moments(decayed.probabilities)
    print("   Weight decay is slack in the constraints, no C: (moments missed) / theta =", end=" ")
    print(" ".join(f"{v:.6f}" for v in (slack / decayed.coef)[0]))
    mixed = 0.9 * moments(labels) + 0.05 * X.mean(axis=0)
    print("   Label smoothing is other targets, no C: moments 0.9 m + 0.1 m_uniform to", end=" ")
    print(f"{np.abs(mixed - moments(smooth.probabilities)).max():.0e}")
    print("   Both together: under strong weight decay what is left is the prior C, shifted to the")
    print(f"   class frequencies: largest difference {np.abs(both.probabilities - q).max():.0e}")


# ---------------------------------------------------------------- figure


def draw(overlap, separable, file):
    """Draw the two paths of gradient descent."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(8, 3), layout="constrained")
    left, right = drawing.subplots(1, 2)
    left.loglog(*zip(*overlap, strict=True), "o-")
    left.set(title="classes that overlap", xlabel="steps", ylabel="worst error of log p")
    steps, norms, angles = zip(*separable, strict=True)
    right.loglog(steps, norms, "o-", label="norm of theta")
    right.loglog(steps, angles, "s-", label="angle to the widest margin, degrees")
    right.set(title="classes that a plane separates", xlabel="steps")
    right.set_ylim(top=3e5)  # room for the legend
    right.legend(loc="upper left", fontsize="small")
    drawing.savefig(file, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--figure", default="conditional_max_entropy.png", help="where to draw gradient descent"
    )
    main(parser.parse_known_args()[0].figure)  # a notebook has arguments of its own
