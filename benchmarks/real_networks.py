"""What both metrics cost on networks that are not ours: in forward-backward passes, and memory.

Run it as ``python benchmarks/real_networks.py [names]``, with the packages of the networks beside
infogeo; those that are missing are left out. Each network has a process of its own, on one thread.
"""

import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from real_networks import NETWORKS, MissingPackageError

from infogeo.pullback import PullbackMetric, WeightMetric

COLUMNS = ("norm of dx", "norm of dw", "product", "trace, estimated", "2 eigenvalues")


def seconds(work, rounds):
    """Return the least processor time of some rounds, after one that warms up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def measured(name):
    """Print the row of one network."""
    torch.set_num_threads(1)
    found = NETWORKS[name]()
    net, inputs = found.net, found.inputs or None
    samples = found.x if found.samples is None else found.samples
    weights = [value for value in net.parameters() if value.requires_grad]

    def one_pass():
        z = net(samples, *found.inputs)
        torch.autograd.grad(z.sum(), weights, allow_unused=True)
        return z

    num_outputs = one_pass().shape[1]
    unit = seconds(one_pass, 7)
    trained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    by_inputs = PullbackMetric(net, found.head, inputs=inputs)
    by_weights = WeightMetric(net, samples, found.head, inputs=inputs)
    dx = torch.ones_like(found.x)
    dw = torch.ones(sum(map(math.prod, by_weights.shapes.values())))
    costs = (
        seconds(lambda: by_inputs.norm(found.x, dx), 5),
        seconds(lambda: by_weights.norm(dw), 5),
        seconds(lambda: by_weights.matvec(dw), 5),
        seconds(lambda: by_weights.hutchinson_trace(num_samples=8), 1),
        seconds(lambda: by_weights.spectrum(num_values=2), 1),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cells = [name, f"{len(dw):,}", str(num_outputs), str(len(samples)), f"{1e3 * unit:.0f}"]
    cells += [f"{cost / unit:.1f}" for cost in costs[:3]] + [f"{c / unit:.0f}" for c in costs[3:]]
    cells += [f"{trained / 1024:.0f}", f"{peak / 1024:.0f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def main(names):
    """Print the table."""
    head = ("network", "weights", "outputs", "samples", "one pass, ms", *COLUMNS)
    head += ("memory of a pass, MiB", "of all, MiB")
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|", flush=True)
    for name in names or NETWORKS:
        subprocess.run([sys.executable, __file__, "--one", name], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        try:
            measured(sys.argv[2])
        except MissingPackageError as error:
            print(f"{sys.argv[2]} is left out: {error}", file=sys.stderr)
    else:
        main(sys.argv[1:])
