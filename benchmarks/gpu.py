"""What infogeo reaches on a GPU, each work beside its limit.

    make bench-gpu

runs the tests that need a GPU (those marked ``cuda``), measures how fast the GPU copies and
multiplies, and prints a table in markdown: time, what was reached, the limit, their ratio, the most
memory beside the inputs, and the error. A limit is what cannot be left out: reading and writing
the numbers, multiplying them, a step of training without a constraint, or passes forward and
backward through the network. The script ends itself after eight minutes. What it printed by then
stays; a part that fails has a line that says so, and the others go on.
"""

import itertools
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from infogeo import neighbors, simplex
from infogeo.lipschitz import layers, losses
from infogeo.pullback import Operator, PullbackMetric, WeightMetric

MINUTES = 8
TESTS = Path(__file__).parents[1] / "tests"
HEADER = ("work", "time", "reached", "limit", "time / limit", "memory", "error")
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Limits:
    """What the device does in a second: bytes read or written, and operations of products."""

    bandwidth: float
    peaks: dict


@dataclass(frozen=True)
class Row:
    """A work, how long it took, the name and the seconds of its limit, and its costs."""

    work: str
    seconds: float
    limit: str
    least: float
    memory: float | None  # bytes; of a CPU torch does not tell
    error: float | None = None
    reached: str = ""

    def cells(self):
        memory = "" if self.memory is None else f"{self.memory / 2**20:,.0f} MiB"
        error = "" if self.error is None else f"{self.error:.1e}" if self.error else "0"
        times = f"{1e3 * self.seconds:.3g} ms", f"{self.seconds / self.least:.2f}"
        return (self.work, times[0], self.reached, self.limit, times[1], memory, error)


# ---------------------------------------------------------------- measuring


def wait_for(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work, device, rounds=3):
    """Return the least time of some rounds, after one that warms up."""
    times = []
    for _ in range(1 + rounds):
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def memory(work, device):
    """Return the most bytes that the work holds beside what was there."""
    if device != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def costs(work, device, rounds=3):
    return {"seconds": seconds(work, device, rounds), "memory": memory(work, device)}


def measured_limits(device, num_numbers, width):
    """Return how fast the device copies numbers and multiplies matrices of this width."""
    x = torch.randn(num_numbers, device=device)
    y, peaks = torch.empty_like(x), {}
    bandwidth = 2 * x.nbytes / seconds(lambda: y.copy_(x), device)
    for dtype in DTYPES:
        a = torch.randn(width, width, dtype=dtype, device=device)
        peaks[dtype] = 2.0 * width**3 / seconds(lambda a=a: a @ a, device)
    return Limits(bandwidth, peaks)


def predictions(num_rows, num_outcomes, dtype, device, seed):
    generator = torch.Generator(device).manual_seed(seed)
    z = torch.randn(num_rows, num_outcomes, dtype=dtype, device=device, generator=generator)
    return z.softmax(-1)


def relative_error(seen, exact):
    apart = exact > 0.0
    return float(((seen.double() - exact).abs()[apart] / exact[apart]).max())


def short(dtype):
    return str(dtype).removeprefix("torch.")


# ---------------------------------------------------------------- predictions


def distances(device, limits, num_rows, num_outcomes):
    """Row by row: the limit is to read both and to write the distances."""
    for dtype in DTYPES:
        p, q = (predictions(num_rows, num_outcomes, dtype, device, seed) for seed in (0, 1))
        exact = simplex.fisher_rao_distance(p[:1000].double(), q[:1000].double())
        error = relative_error(simplex.fisher_rao_distance(p, q)[:1000], exact)
        num_bytes = p.nbytes + q.nbytes + num_rows * p.element_size()
        for check in (True, False):

            def work(p=p, q=q, check=check):
                return simplex.fisher_rao_distance(p, q, check=check)

            found = costs(work, device)
            yield Row(
                f"distances, {num_rows:,} x {num_outcomes}, {short(dtype)}, {check=}",
                limit=f"copy, {limits.bandwidth / 1e9:,.0f} GB/s",
                least=num_bytes / limits.bandwidth,
                error=error,
                reached=f"{num_bytes / found['seconds'] / 1e9:,.0f} GB/s",
                **found,
            )


def products(run, device, limits, dtype, *, operations, num_bytes, **beside):
    """Return the row of a work that multiplies and writes: the slower of the two is its limit."""
    found = costs(run, device)
    writing, peak = num_bytes / limits.bandwidth, limits.peaks[dtype]
    if writing > operations / peak:
        limit = f"writing, {limits.bandwidth / 1e9:,.0f} GB/s"
        reached = f"{num_bytes / found['seconds'] / 1e9:,.0f} GB/s"
    else:
        limit = f"product, {peak / 1e12:.3g} TFLOP/s"
        reached = f"{operations / found['seconds'] / 1e12:.3g} TFLOP/s"
    least = max(writing, operations / peak)
    return Row(limit=limit, least=least, reached=reached, **found, **beside)


def pairwise(device, limits, num_rows, num_outcomes):
    """All pairs: the limit is one product, or to write the result."""
    for dtype in DTYPES:
        p, q = (predictions(num_rows, num_outcomes, dtype, device, seed) for seed in (0, 1))
        exact = simplex.fisher_rao_distance(p[:20, None].double(), q.double())
        yield products(
            lambda p=p, q=q: neighbors.pairwise_distance(p, q),
            *(device, limits, dtype),
            operations=2.0 * num_rows**2 * num_outcomes,
            num_bytes=num_rows**2 * p.element_size(),
            work=f"pairwise, {num_rows:,} x {num_rows:,} of {num_outcomes}, {short(dtype)}",
            error=relative_error(neighbors.pairwise_distance(p, q)[:20], exact),
        )


def nearest(device, limits, num_queries, num_points, num_outcomes, num_neighbors=5):
    """The nearest points, exactly: the limit is one product of all queries and points."""
    for dtype in DTYPES:
        a, b = (
            predictions(num_rows, num_outcomes, dtype, device, seed=num_rows)
            for num_rows in (num_queries, num_points)
        )
        found = neighbors.nearest(a[:20], b, num_neighbors=num_neighbors).distances
        every = neighbors.pairwise_distance(a[:20].double(), b.double())
        yield products(
            lambda a=a, b=b: neighbors.nearest(a, b, num_neighbors=num_neighbors),
            *(device, limits, dtype),
            operations=2.0 * num_queries * num_points * num_outcomes,
            num_bytes=num_queries * num_neighbors * (8 + a.element_size()),
            work=f"{num_neighbors} nearest of {num_points:,} for {num_queries:,}, "
            f"{num_outcomes} outcomes, {short(dtype)}",
            error=relative_error(found, every.topk(num_neighbors, largest=False).values),
        )


# ---------------------------------------------------------------- networks


class Bottleneck(nn.Module):
    """The block of a ResNet-50."""

    def __init__(self, num_in, width, stride):
        super().__init__()
        num_out = 4 * width
        self.body = nn.Sequential(
            *(nn.Conv2d(num_in, width, 1, bias=False), norm(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), norm(width), nn.ReLU()),
            *(nn.Conv2d(width, num_out, 1, bias=False), norm(num_out)),
        )
        self.skip = nn.Sequential()
        if stride > 1 or num_in != num_out:
            self.skip = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False), norm(num_out)
            )

    def forward(self, x):
        return torch.relu(self.body(x) + self.skip(x))


def norm(width):
    return nn.BatchNorm2d(width, momentum=1.0)  # one batch settles its statistics


def resnet(depths, width, num_outputs):
    """Return a network with the layers of a ResNet-50: untrained."""
    stem = [nn.Conv2d(3, width, 7, 2, 3, bias=False), norm(width), nn.ReLU()]
    blocks, size = [*stem, nn.MaxPool2d(3, 2, 1)], width
    for i, depth in enumerate(depths):
        for j in range(depth):
            blocks.append(Bottleneck(size, width * 2**i, 2 if i and not j else 1))
            size = 4 * width * 2**i
    readout = nn.Linear(size, num_outputs)
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout)


class Transformer(nn.Module):
    """The block of a GPT-2."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.body = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        parts = self.mix(self.first(x)).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.body(self.second(x))


class Last(nn.Module):
    """The last token."""

    def forward(self, x):
        return x[:, -1]


def gpt(depth, width, num_heads, num_outputs):
    """Return a network with the layers of a GPT-2, from embeddings to the next token: untrained."""
    blocks = [Transformer(width, num_heads) for _ in range(depth)]
    readout = nn.Linear(width, num_outputs, bias=False)
    return nn.Sequential(*blocks, nn.LayerNorm(width), Last(), readout)


def networks(device, limits, name, make, shape, num_values, all_values, **sizes):
    """Both metrics of a network: the limits are passes forward and backward."""
    torch.manual_seed(0)
    net, x = make(**sizes).to(device), torch.randn(shape, device=device)
    with torch.no_grad():
        net.train()(x)
    net.eval()
    by_inputs, dx = PullbackMetric(net), torch.randn_like(x)
    one = seconds(lambda: passes(net, x), device)
    found = costs(lambda: by_inputs.norm(x, dx), device)
    yield Row(f"{name}, {len(x)} inputs: norm of dx", limit="1 pass", least=one, **found)
    weights = list(net.parameters())
    by_weights = WeightMetric(net, x)
    dw = torch.randn(sum(w.numel() for w in weights), device=device)
    one_of_weights = seconds(lambda: passes(net, x, weights), device)
    for work in (by_weights.norm, by_weights.matvec):
        yield Row(
            f"{name}, {len(x)} samples: `WeightMetric.{work.__name__}`",
            limit="1 pass",
            least=one_of_weights,
            **costs(lambda work=work: work(dw), device),
        )
    num_rows = sizes["num_outputs"] - 1
    if all_values:
        yield Row(
            f"{name}, {len(x)} inputs: all eigenvalues each",
            limit=f"{num_rows} passes backward",
            least=num_rows * row_seconds(net, x, device, min(8, num_rows)),
            **costs(lambda: by_inputs.log_spectrum(x), device, 1),
        )
    by_products = PullbackMetric(net, strategy=Operator())  # never so many rows
    # So many products with the metric it takes to find them, and to see that they are the largest.
    least = num_values + 1
    yield Row(
        f"{name}, {len(x)} inputs: {num_values} eigenvalues each",
        limit=f"{least} passes",
        least=least * one,
        **costs(lambda: by_products.spectrum(x, num_values=num_values), device, 1),
    )


def passes(net, x, weights=None):
    """Go through the network forward and backward: to the inputs, or to the weights."""
    x = x.clone().requires_grad_(weights is None)
    return torch.autograd.grad(net(x).sum(), weights or x)


def row_seconds(net, x, device, num_rows):
    """Return what a pass backward takes: one by one or several at once, whichever is faster."""
    x = x.clone().requires_grad_()
    z = net(x)
    seeds = torch.eye(z.shape[1], device=device)[:num_rows, None].expand(-1, len(x), -1)

    def one_by_one():
        for seed in seeds:
            torch.autograd.grad(z, x, seed, retain_graph=True)

    def together():
        torch.autograd.grad(z, x, seeds, retain_graph=True, is_grads_batched=True)

    return min(seconds(work, device) for work in (one_by_one, together)) / num_rows


def training(device, limits, widths, batch_size):
    """A step with orthogonal layers: the limit is a step with layers without a constraint."""
    x, y = torch.rand(batch_size, widths[0], device=device), torch.arange(batch_size, device=device)
    kinds = {
        "without a constraint": nn.Linear,
        "QR": layers.OrthogonalLinear,
        "Cayley": lambda i, o: layers.OrthogonalLinear(i, o, parametrization=layers.Cayley),
    }
    least = None
    for kind, linear in kinds.items():
        modules = []
        for i, o in itertools.pairwise(widths):
            modules += [linear(i, o), layers.GroupSort()]
        net = nn.Sequential(*modules[:-1]).to(device)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

        def step(net=net, optimizer=optimizer):
            optimizer.zero_grad()
            losses.tau_cross_entropy(net(x), y % widths[-1], tau=10.0).backward()
            optimizer.step()

        found, error = costs(step, device, 20), None
        if least is None:
            least = found["seconds"]
        else:
            values = [torch.linalg.svdvals(layer.weight.double()) for layer in net.eval()[::2]]
            error = float((torch.cat(values) - 1.0).abs().max().detach())
        work = f"step of training, {'-'.join(map(str, widths))}, {batch_size} rows, {kind}"
        yield Row(work, limit="no constraint", least=least, error=error, **found)


# ---------------------------------------------------------------- all

LIMITS = {"num_numbers": 2**28, "width": 8192}
RESNET = {"depths": (3, 4, 6, 3), "width": 64, "num_outputs": 1000}
GPT = {"depth": 12, "width": 768, "num_heads": 12, "num_outputs": 50257}
PARTS = (
    (distances, {"num_rows": 20_000_000, "num_outcomes": 10}),
    (distances, {"num_rows": 200_000, "num_outcomes": 1000}),
    (pairwise, {"num_rows": 20_000, "num_outcomes": 10}),
    (pairwise, {"num_rows": 20_000, "num_outcomes": 1000}),
    (nearest, {"num_queries": 10_000, "num_points": 1_000_000, "num_outcomes": 10}),
    (nearest, {"num_queries": 10_000, "num_points": 1_000_000, "num_outcomes": 100}),
    (training, {"widths": (784, 256, 256, 10), "batch_size": 128}),
    (training, {"widths": (2048, 1024, 1024, 1000), "batch_size": 1024}),
    (
        networks,
        {"name": "ResNet-50-like", "make": resnet, "shape": (8, 3, 224, 224), "num_values": 5}
        | {"all_values": True, **RESNET},
    ),
    (
        networks,
        {"name": "GPT-2-like", "make": gpt, "shape": (4, 64, 768), "num_values": 5}
        | {"all_values": False, **GPT},
    ),
)


def run_tests():
    """Run the tests that need a GPU, and return the last line of what they say, and the status."""
    files = [str(path) for path in TESTS.rglob("test_*.py") if "mark.cuda" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider"]
    try:
        run = subprocess.run([*command, *files], capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        return "the tests were stopped after 240 s", 1
    lines = (run.stdout + run.stderr).strip().splitlines()
    return "\n".join(lines[-1:] if run.returncode == 0 else lines[-40:]), run.returncode


def table(device, limits, parts):
    """Print the rows of all parts, and return how many parts failed."""
    num_failed = 0
    for line in (HEADER, ("---",) * len(HEADER)):
        print("| " + " | ".join(line) + " |")
    for part, sizes in parts:
        try:
            for row in part(device, limits, **sizes):
                print("| " + " | ".join(row.cells()) + " |", flush=True)
        except Exception as error:  # the GPU is there for minutes: the other parts go on
            num_failed += 1
            words = str(error).splitlines() or [""]
            print(f"| {part.__name__} failed: {type(error).__name__}: {words[0]} |", flush=True)
    return num_failed


def main():
    """Print what tests and measurements say, or that there is no GPU; return the exit status."""
    if not torch.cuda.is_available():
        print("No GPU was found by torch, so nothing was measured.")
        return 0
    signal.alarm(60 * MINUTES)
    said, status = run_tests()
    name = torch.cuda.get_device_properties(0).name
    print(f"{name}, torch {torch.__version__}. Tests: {said}\n", flush=True)
    limits = measured_limits("cuda", **LIMITS)
    return int(table("cuda", limits, PARTS) > 0 or status != 0)


if __name__ == "__main__":
    sys.exit(main())
