"""infogeo compare on two checkpoints of a network."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from infogeo import cli, logits

NETS = """
import torch
from infogeo.pullback import PullbackMetric, heads

def make():
    return torch.nn.Sequential(torch.nn.Linear(6, 3))

def deep():
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

def regression():
    return PullbackMetric(make(), heads.normal_fixed_std(0.5))

ONE = make()

def same():
    return ONE

def tied():
    net = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh(), torch.nn.Linear(6, 6))
    net[2].weight = net[0].weight
    return net

class Scaled(torch.nn.Linear):
    def forward(self, x, factor):
        return super().forward(factor * x)

def scaled():
    return PullbackMetric(Scaled(6, 3), inputs=torch.full((1, 1), 2.0))

class Rows(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = torch.nn.Embedding(9, 3, max_norm=1.0)
    def forward(self, x):
        return self.rows((x.abs() * 3.0).long().clamp(max=8)).sum(1)

class Packed(torch.nn.Linear):
    def _load_from_state_dict(self, state, prefix, *rest):  # as modules that torch has quantised
        self.scale = float(state[prefix + "scale"])

def packed():
    return torch.nn.Sequential(Packed(6, 3))

def mixing():
    class Mixing(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x - x.mean(0))
    return Mixing(torch.nn.Linear(6, 3))
"""
NUM_INPUTS = 40


@pytest.fixture
def states(tmp_path, monkeypatch):
    """Write two checkpoints, inputs and labels; give the state dicts and the inputs back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "nets_to_compare.py").write_text(NETS)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(NUM_INPUTS, 6, generator=generator)
    found = [
        {
            "0.weight": torch.randn(3, 6, generator=generator),
            "0.bias": torch.randn(3, generator=generator),
        }
        for _ in range(2)
    ]
    for name, state in zip(("old.pt", "new.pt"), found, strict=True):
        torch.save(state, name)
    np.save("x.npy", x.numpy())
    np.save("labels.npy", np.arange(NUM_INPUTS) % 3)
    yield found, x
    sys.modules.pop("nets_to_compare", None)


def compare(*flags, old="old.pt", new="new.pt", model="nets_to_compare:make"):
    options = ["--model", model, "--inputs", "x.npy", "--batch-size", "16"]
    return cli.main(["compare", old, new, *options, *flags])


def outputs(state, x):
    weight, bias = (value.double().numpy() for value in state.values())
    return x.double().numpy() @ weight.T + bias


def test_the_summary_says_what_numpy_says(states, capsys):
    (old, new), x = states
    assert compare("--json", "--labels", "labels.npy") == 0
    summary = json.loads(capsys.readouterr().out)
    z = [outputs(state, x) for state in (old, new)]
    d = logits.fisher_rao_distance(*z)
    squares = d**2
    rms = np.sqrt(squares.mean())
    np.testing.assert_allclose(summary["mean_distance"], d.mean(), rtol=1e-5)
    np.testing.assert_allclose(summary["network_distance"], rms, rtol=1e-5)
    error = squares.std(ddof=1) / np.sqrt(len(d)) / (2.0 * rms)
    np.testing.assert_allclose(summary["network_distance_error"], error, rtol=1e-4)
    changed = z[0].argmax(1) != z[1].argmax(1)
    assert summary["changed_share"] == changed.mean()
    assert summary["old_accuracy"] == (z[0].argmax(1) == np.arange(len(d)) % 3).mean()
    assert summary["files"] == {
        "old": "old.pt", "new": "new.pt", "labels": "labels.npy", "inputs": "x.npy",
        "model": "nets_to_compare:make",
    }  # fmt: skip
    line = summary["line"]
    assert line["inputs"] == NUM_INPUTS
    np.testing.assert_allclose(line["distance"], rms, rtol=1e-5)
    # A linear network: logits move along straight lines; 2000 steps of the mean of squares.
    shares = np.linspace(0.0, 1.0, 2001)[:, None, None]
    path = (1.0 - shares) * z[0] + shares * z[1]
    steps = np.sqrt((logits.fisher_rao_distance(path[:-1], path[1:]) ** 2).mean(1))
    assert list(line["length"]) == ["as they are"]
    np.testing.assert_allclose(line["length"]["as they are"], steps.sum(), rtol=1e-2)


def test_people_read_the_distance_and_the_line(states, capsys):
    assert compare("-o", "drift", "--fail-changed-above", "0.9") == 0
    said = capsys.readouterr().out
    assert "distance of the networks: " in said
    assert "(root mean square)" in said
    assert "straight line of weights, on 40 inputs: " in said
    summary = json.loads(Path("drift/summary.json").read_text())
    assert summary["line"]["inputs"] == NUM_INPUTS
    assert compare("--fail-above", "0.01") == 1
    assert compare(new="old.pt") == 0
    said = capsys.readouterr().out
    assert "distance of the networks: 0 ± 0" in said
    assert "straight line" not in said.partition("0 ± 0")[2]


def test_units_in_another_order_are_seen(states, capsys):
    torch.manual_seed(1)
    old = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    order = torch.tensor([3, 1, 0, 2, 7, 4, 5, 6])
    new = {name: value + 0.01 for name, value in old.state_dict().items()}
    new |= {name: new[name][order] for name in ("0.weight", "0.bias")}
    new["2.weight"] = new["2.weight"][:, order]
    torch.save(old.state_dict(), "old.pt")
    torch.save(new, "new.pt")
    assert compare("--json", model="nets_to_compare:deep") == 0
    line = json.loads(capsys.readouterr().out)["line"]
    assert line["length"]["matched"] < 1.1 * line["distance"]
    assert line["length"]["as they are"] > 2.0 * line["distance"]
    assert compare(model="nets_to_compare:deep") == 0
    assert "times the distance with the hidden units in matched order" in capsys.readouterr().out


WRAPPED = {
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.module.{n}": v for n, v in state.items()},
    "checkpoint": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer": {0: {}}},
    "lightning": lambda state: {
        "state_dict": {f"net.{name}": value for name, value in state.items()},
        "hyper_parameters": {"class_weights": torch.ones(3)},
        "optimizer_states": [{"state": {}, "param_groups": []}],
    },
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_wraps_a_state_dict_is_taken_off(states, kind, capsys):
    (_, new), _ = states
    assert compare("--json") == 0
    expected = json.loads(capsys.readouterr().out)
    torch.save(WRAPPED[kind](new), "wrapped.ckpt")
    assert compare("--json", new="wrapped.ckpt") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["network_distance"] == expected["network_distance"]


def test_weights_that_are_tied_are_written_once(states, capsys):
    """As safetensors writes them: by one of their names, of which the module has two."""
    generator = torch.Generator().manual_seed(1)
    for name, prefix in (("old.pt", ""), ("new.pt", "module.")):
        state = {
            f"{prefix}{key}": torch.randn(shape, generator=generator)
            for key, shape in (("0.bias", (6,)), ("2.weight", (6, 6)), ("2.bias", (6,)))
        }
        torch.save(state, name)
    assert compare("--json", model="nets_to_compare:tied") == 0
    assert json.loads(capsys.readouterr().out)["network_distance"] > 0.1
    torch.save(state | {f"{prefix}0.weight": torch.ones(6, 6)}, "new.pt")
    assert compare(model="nets_to_compare:tied") == 2
    assert "new.pt: 0.weight and 2.weight differ, and the model ties" in capsys.readouterr().err


def test_further_inputs_are_those_of_the_metric(states, capsys):
    for name, state in zip(("old.pt", "new.pt"), states[0], strict=True):
        torch.save({n.removeprefix("0."): value for n, value in state.items()}, name)
    assert compare("--json", model="nets_to_compare:scaled") == 0
    found = json.loads(capsys.readouterr().out)
    z = [outputs(state, 2.0 * states[1]) for state in states[0]]
    expected = np.sqrt(np.square(logits.fisher_rao_distance(*z)).mean())
    assert found["network_distance"] == pytest.approx(expected, rel=1e-5)
    assert found["line"]["distance"] == pytest.approx(expected, rel=1e-5)


def test_predictions_are_compared_where_no_line_can_be_measured(states, capsys):
    for k, name in enumerate(("old.pt", "new.pt")):
        torch.save({"rows.weight": torch.eye(9, 3).roll(k, 1)}, name)
    assert compare(model="nets_to_compare:Rows") == 0
    assert "line of weights: not measured: model must keep its weights" in capsys.readouterr().out


class Bomb:
    def __reduce__(self):
        return open, ("exploded", "w")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"new": "none.pt"}, "cannot read none.pt: No such file"),
        ({"new": "bomb.pt"}, "bomb.pt: it is no state dict of tensors alone"),
        ({"new": "two.pt"}, "two.pt holds more than a state dict"),
        ({"new": "half.pt"}, "half.pt does not fit the model"),
        ({"model": "nets_to_compare:packed"}, "old.pt does not fit the model: '0.scale'"),
        ({"new": "nan.pt"}, "nan.pt: 0.bias holds NaN"),
        ({"model": "nets_to_compare:same"}, "must make a new network at each call"),
        ({"model": "nets_to_compare:regression"}, "has another head than classes"),
        ({"model": "nets_to_compare:mixing"}, "by itself"),
        ({"model": "nets_to_compare:nothing"}, "AttributeError"),
    ],
)
def test_files_that_are_wrong_are_named(states, flags, words, capsys, tmp_path):
    (old, new), _ = states
    torch.save({"model": old, "ema": new}, "two.pt")
    torch.save({"net.0.weight": old["0.weight"], "0.bias": old["0.bias"]}, "half.pt")
    torch.save({"model": old, "bomb": Bomb()}, "bomb.pt")
    torch.save(old | {"0.bias": torch.full((3,), torch.nan)}, "nan.pt")
    assert compare(**flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("infogeo compare: ")
    assert words in said
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["old.pt", "new.pt"], "old.pt looks like a checkpoint: give --model and --inputs, too"),
        (["old.pt", "new.pt", "--model", "a:b"], "--model and --inputs go together"),
        (["old.csv", "new.csv", "--inputs", "x.npy"], "--model and --inputs go together"),
        (
            ["old.pt", "new.pt", "--model", "a:b", "--inputs", "x.npy", "--logits"],
            "--model goes without --logits, which is about tables",
        ),
        (
            ["old.pt", "new.pt", "--model", "a:b", "--inputs", "x.npy", "--label-column", "y"],
            "--model goes without --label-column",
        ),
    ],
)
def test_options_that_do_not_go_together(states, arguments, words, capsys):
    assert cli.main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err
