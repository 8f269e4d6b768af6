"""Samples that two processes share, against all samples in one."""

import multiprocessing
import os
import re
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn

from infogeo.pullback import PullbackMetric, WeightMetric, _weight_network, heads

F64 = torch.float64


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


X = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
Y = torch.arange(9) % 3


class Scaled(nn.Module):
    """Fewer weights than classes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=F64))

    def forward(self, x):
        return self.scale * x


def losses(y):
    return lambda z: nn.functional.cross_entropy(z, y, reduction="none")


def measured(metric, y):
    """Return what there is to be known of a metric, as numbers that do not depend on signs."""
    first, second = metric.model, net(3)
    v, w = (metric.flatten({n: p.detach() for n, p in net(k).named_parameters()}) for k in (4, 5))
    generator = torch.Generator().manual_seed(6)
    spectrum = metric.spectrum()
    found = {
        "norm": metric.norm(v),
        "inner product": metric.inner_product(v, w),
        "product": metric.matvec(v),
        "diagonal": metric.diagonal(),
        "trace": metric.trace(),
        "hutchinson": metric.hutchinson_trace(num_samples=3, generator=generator).values,
        "values": spectrum.values[:12],
        "projection": spectrum.vectors[:3].mT @ spectrum.vectors[:3],
        "dimension": metric.effective_dimension(1e-2),
        "solution": metric.solve(v, 0.1).vector,
        "distance": metric.distance(first, second),
        "length": metric.length([first, second, net(7)]),
        "segment": metric.segment_length(first, second).value,
        "std": metric.prediction_std(X[:2], 0.5),
        "sandwich": metric.prediction_std(X[:2], 0.5, losses=losses(y)),
        "evidence": metric.log_marginal_likelihood(0.5, losses(y)),
        "barrier": torch.tensor(metric.barrier(first, second, lambda z: losses(y)(z).mean()).value),
        "activations": torch.tensor(metric.match_activations(first, second).after),
    }
    with mock.patch.object(_weight_network, "_EXACT_ROWS", 4):
        found["lanczos"] = metric.spectrum(num_values=2).values
    return found


def work(rank, file, seen):
    """Measure with a part of the samples, and compare with all of them."""
    try:
        torch.set_num_threads(1)
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{file}",
            rank=rank,
            world_size=2,
            timeout=timedelta(seconds=60),
        )
        part = slice(0, 4) if rank == 0 else slice(4, None)
        group = torch.distributed.group.WORLD
        metric = WeightMetric(net(0), X[part], chunk_size=2, group=group)
        found, expected = measured(metric, Y[part]), measured(WeightMetric(net(0), X), Y)
        found["one weight"] = WeightMetric(Scaled(), X[part], group=group).diagonal()
        expected["one weight"] = WeightMetric(Scaled(), X).diagonal()
        with mock.patch.object(_weight_network, "_EXACT_ROWS", 1):
            found["folded"] = WeightMetric(Scaled(), X[part], group=group).log_spectrum()
            expected["folded"] = WeightMetric(Scaled(), X).trace().log()[None]
        torch.manual_seed(rank)
        found["without a generator"] = metric.hutchinson_trace(num_samples=3).values
        gathered = [torch.zeros((), dtype=F64) for _ in range(2)]
        torch.distributed.all_gather(gathered, found["without a generator"])
        expected["without a generator"] = gathered[1 - rank]
        wrong = {
            name: float((found[name] - value).abs().max())
            for name, value in expected.items()
            if not torch.allclose(found[name], value, rtol=1e-8, atol=1e-9)
        }
        seen.put((rank, wrong))
    except BaseException:
        seen.put((rank, traceback.format_exc()))


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_know_what_one_does(tmp_path):
    context = multiprocessing.get_context("fork")
    seen = context.Queue()
    processes = [
        context.Process(target=work, args=(rank, tmp_path / "store", seen)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    results = dict(seen.get(timeout=200) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert results == {0: {}, 1: {}}


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no torchrun")
def test_the_script_of_the_page_runs_under_torchrun(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    (script,) = re.findall(r":caption: shards.py\n\n(.*?)```", page, flags=re.DOTALL)
    (line,) = re.findall(r"^torchrun (.* shards.py)$", page, flags=re.MULTILINE)
    (tmp_path / "shards.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *line.split()],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    x = torch.randn(101, 8, dtype=F64)
    metric = WeightMetric(model, x)
    largest = PullbackMetric(model).spectrum(x, num_values=1).values.max().log()
    weights, inputs = (list(map(float, text.split())) for text in done.stdout.splitlines())
    expected = [float(metric.trace()), *metric.spectrum().values[:3].tolist()]
    assert weights == pytest.approx(expected, abs=1e-6)  # six digits are printed
    assert inputs == pytest.approx([101, float(largest)], abs=1e-6)


def test_a_group_that_is_none_is_named():
    with pytest.raises(TypeError, match="group must be a process group"):
        WeightMetric(net(0), X, heads.categorical, group="world")
