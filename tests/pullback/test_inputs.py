"""What a model takes beside x stays with its sample, whatever points are looked at."""

import pytest
import torch
from torch import nn

from infogeo import pullback, robustness
from infogeo.lipschitz import smoothing
from infogeo.pullback import PullbackMetric, _network, check_differentiable, quantities

F64 = torch.float64
BATCH, PLACES, WIDTH = 3, 4, 5


class Masked(nn.Module):
    """Mean of the embeddings that a mask leaves, and a term of the context: per sample."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.A = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=F64, generator=generator))
        self.B = nn.Parameter(2.0 * torch.randn(WIDTH, 4, dtype=F64, generator=generator))

    def forward(self, x, mask, *, context):
        h = torch.where(mask[..., None], torch.tanh(x @ self.A), 0.0).sum(1)
        return (h / mask.sum(1, keepdim=True) + context) @ self.B


MODEL = Masked()
GENERATOR = torch.Generator().manual_seed(1)
X = torch.randn(BATCH, PLACES, WIDTH, dtype=F64, generator=GENERATOR)
V = torch.randn(BATCH, PLACES, WIDTH, dtype=F64, generator=GENERATOR)
MASK = torch.tensor(
    [[True, True, True, True], [True, False, False, False], [True, True, False, True]]
)
CONTEXT = torch.randn(BATCH, WIDTH, dtype=F64, generator=GENERATOR)


def masked(x, mask, context):
    return MODEL(x, mask, context=context)


FURTHER = {"mask": MASK, "context": CONTEXT}
METRIC = PullbackMetric(masked, inputs=FURTHER)


def alone(i):
    """The metric of one sample, whose inputs stand in a closure: right for a batch of one."""
    return PullbackMetric(
        lambda x: MODEL(
            x, MASK[i : i + 1].expand(len(x), -1), context=CONTEXT[i : i + 1].expand(len(x), -1)
        )
    )


# Quantities of a batch, by a metric and the samples it is for.
MEASURES = {
    "factor": lambda m, x, v: m.factor(x),
    "norm": lambda m, x, v: m.norm(x, v),
    "inner product": lambda m, x, v: m.inner_product(x, v, x),
    "log spectrum": lambda m, x, v: m.log_spectrum(x),
    "few of many values": lambda m, x, v: (
        PullbackMetric(m.model, inputs=m.inputs, strategy=pullback.Operator())
        .spectrum(x, num_values=1)
        .values
    ),
    "output distance": lambda m, x, v: m.output_distance(x, x + v),
    "boundary distance": lambda m, x, v: m.boundary_distance(x),
    "outputs": lambda m, x, v: quantities.outputs(m, x),
    "segment length": lambda m, x, v: m.segment_length(x, x + v, num_segments=3).value,
    "distance": lambda m, x, v: (
        m.distance(x, x + v, num_segments=3, max_steps=20, throw=False).length
    ),
    "kernel walk": lambda m, x, v: m.kernel_walk(x, v, num_steps=2).points[-1],
    "leaf path": lambda m, x, v: m.leaf_path(x, x + v, num_steps=2).points[-1],
    "curvature": lambda m, x, v: m.leaf_curvature(x, v, v.flip(2)),
    "Lipschitz constant": lambda m, x, v: pullback.comparison.lipschitz_constant_at(m, x),
    "attack": lambda m, x, v: (
        robustness.spectral_attack(m.model, x, inputs=m.inputs, radius=0.5, num_steps=2).points
    ),
    "indicator": lambda m, x, v: robustness.robustness_indicator(m.model, x, inputs=m.inputs),
    "isometry": lambda m, x, v: torch.stack(
        [robustness.isometry_penalty(m.model, x, inputs=m.inputs, radius=1.0)] * len(x)
    ).detach(),
}


@pytest.mark.parametrize("name", MEASURES)
def test_inputs_stay_with_their_sample(name, monkeypatch):
    # Parts of a batch that are as small as can be: no part begins with the first sample.
    monkeypatch.setattr(_network, "_PART", 2 * X[0].numel())
    found = MEASURES[name](METRIC, X, V)
    expected = torch.cat(
        [MEASURES[name](alone(i), X[i : i + 1], V[i : i + 1]) for i in range(BATCH)]
    )
    if name == "isometry":
        found, expected = found[:1], expected.mean()[None]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "inputs",
    [
        (MASK, CONTEXT),
        [MASK, CONTEXT],
        {"mask": MASK, "context": CONTEXT},
    ],
)
def test_inputs_go_in_by_place_or_by_name(inputs):
    assert torch.equal(PullbackMetric(masked, inputs=inputs).factor(X), METRIC.factor(X))


def test_one_input_needs_no_tuple():
    found = PullbackMetric(lambda x, c: x + c, inputs=CONTEXT).output_distance(X[:, 0], V[:, 0])
    expected = PullbackMetric(lambda x: x).output_distance(X[:, 0] + CONTEXT, V[:, 0] + CONTEXT)
    torch.testing.assert_close(found, expected)


def test_one_row_is_for_all_samples():
    one = PullbackMetric(masked, inputs={"mask": MASK[:1], "context": CONTEXT})
    all_alike = PullbackMetric(masked, inputs={"mask": MASK[:1].expand(3, -1), "context": CONTEXT})
    assert torch.equal(one.norm(X, V), all_alike.norm(X, V))
    path = torch.stack([X[0], V[0]])
    metric = PullbackMetric(masked, inputs=(MASK[1:2], CONTEXT[1:2]))
    assert (
        metric.length(path)
        == METRIC.output_distance(path[:1].expand(3, -1, -1), path[1:].expand(3, -1, -1))[1]
    )


def test_a_batch_of_one_meets_the_inputs_of_many():
    expected = METRIC.output_distance(X[:1].expand(3, -1, -1), V)
    torch.testing.assert_close(METRIC.output_distance(X[:1], V), expected)
    torch.testing.assert_close(
        METRIC.distance(X[:1], V, num_segments=2, throw=False).lower_bound, expected
    )


def test_models_may_work_in_place_on_their_inputs():
    def model(x, c):
        c += 1.0
        return x + c

    context = CONTEXT.clone()
    PullbackMetric(model, inputs=context).norm(X[:, 0], V[:, 0])
    PullbackMetric(model, inputs=context[:1]).norm(X[:, 0], V[:, 0])
    assert torch.equal(context, CONTEXT)


def test_kinks_of_masked_places_are_none():
    def model(x, mask):
        return x.where(mask[..., None], 1.0).relu().flatten(1)

    x = X.abs()
    x[:, 1] = 0.0
    found = check_differentiable(model, x, inputs=MASK)
    assert found.is_differentiable.tolist() == [False, True, False]


def test_votes_keep_inputs_with_their_sample():
    def model(x, mask):
        return torch.where(mask, x, -9.0)

    x, mask = torch.zeros(3, 2), torch.tensor([[True, False], [False, True], [True, False]])
    counts = smoothing.votes(model, x, inputs=mask, std=0.5, num_samples=10, chunk_size=2)
    assert counts.tolist() == [[10, 0], [0, 10], [10, 0]]


def test_scans_take_inputs_from_the_batches(tmp_path):
    data = torch.utils.data.TensorDataset(X, MASK, CONTEXT)
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    measured = {"trace": PullbackMetric.trace, "outputs": quantities.outputs}
    found = pullback.scan(
        masked, loader, inputs=lambda batch: batch[1:], quantities=measured, out=tmp_path
    )
    torch.testing.assert_close(torch.as_tensor(found.column("trace")), METRIC.trace(X))
    torch.testing.assert_close(
        torch.as_tensor(found.column("outputs")), quantities.outputs(METRIC, X)
    )
    data = torch.utils.data.TensorDataset(X, ~MASK, CONTEXT)
    other = torch.utils.data.DataLoader(data, batch_size=2)
    with pytest.raises(ValueError, match="first batch"):
        pullback.scan(masked, other, inputs=lambda b: b[1:], quantities=measured, out=tmp_path)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: PullbackMetric(masked, inputs={"mask": MASK[:2], "context": CONTEXT}).trace(X),
            ValueError,
            r"inputs\['mask'\] must have one row for each sample of x, .* 2 rows, and x has 3",
        ),
        (
            lambda: PullbackMetric(masked, inputs=MASK.numpy()),
            TypeError,
            r"inputs must be a tensor, a tuple of tensors or a mapping .* got ndarray",
        ),
        (
            lambda: PullbackMetric(masked, inputs=(MASK, 2.0)),
            TypeError,
            r"inputs\[1\] must be a torch tensor: got float",
        ),
        (
            lambda: PullbackMetric(masked, inputs=torch.tensor(1.0)),
            ValueError,
            r"inputs\[0\] must have one row for each sample.*\(\)",
        ),
        (lambda: METRIC.length(X), ValueError, r"each sample of one path, .* it has 3 rows"),
        (
            lambda: METRIC.segment_length(X[:2], V[:2]),
            ValueError,
            r"one row for each sample of x0 and x1",
        ),
        (
            lambda: check_differentiable(masked, X, inputs=(MASK[:2], CONTEXT)),
            ValueError,
            r"inputs\[0\] must have one row for each sample of x",
        ),
        (
            lambda: smoothing.votes(masked, X, inputs=MASK[:2], std=1.0, num_samples=1),
            ValueError,
            r"inputs\[0\] must have one row for each sample of x",
        ),
        (
            lambda: pullback.scan(METRIC, X.split(1), out="nowhere"),
            ValueError,
            r"model.inputs must have one row for all samples of a scan",
        ),
        (
            lambda: pullback.scan(masked, X.split(1), inputs=MASK, out="nowhere"),
            TypeError,
            r"inputs must be a function of a batch",
        ),
    ],
)
def test_inputs_that_cannot_be_used(call, error, message):
    with pytest.raises(error, match=message):
        call()
