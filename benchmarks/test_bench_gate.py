"""What the gate adds to a small call: two arguments of ten probabilities, values checked or not."""

import numpy as np
import pytest

from infogeo._array import PROBABILITIES, gate

P, Q = np.random.default_rng(0).dirichlet(np.ones(10), 2)


@pytest.mark.parametrize("who", ["values checked", "`check=False`"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_gate(benchmark, library, who):
    p, q = P, Q
    if library == "torch":
        torch = pytest.importorskip("torch")
        p, q = torch.tensor(p), torch.tensor(q)
    benchmark.group = library
    check = who == "values checked"
    benchmark(lambda: gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q)))
