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

class Words(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.last = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 3)
    def forward(self, ids, mask=None):
        weights = torch.ones(ids.shape) if mask is None else mask.float()
        mean = (self.rows(ids) * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
        return self.last(mean.tanh())

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


@pytest.fixture
def tokens(states):
    """Write two networks of words, token ids and a mask, in all kinds of files."""
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 9, (NUM_INPUTS, 5)), np.ones((NUM_INPUTS, 5), bool)
    mask[::2, 3:] = False
    state = {"rows.weight": (9, 4), "last.weight": (3, 4), "last.bias": (3,)}
    found = []
    for name in ("old.pt", "new.pt"):
        found.append(
            {
                key: torch.tensor(rng.standard_normal(shape), dtype=torch.float32)
                for key, shape in state.items()
            }
        )
        torch.save(found[-1], name)
    np.save("ids.npy", ids)
    np.save("mask.npy", mask)
    np.savez("tokens.npz", input_ids=ids.astype(np.int32), attention_mask=mask.astype(np.uint8))
    return found, ids, mask


def words(state, ids, mask):
    """Return the logits of the network of words, by numpy."""
    rows, weight, bias = (value.double().numpy() for value in state.values())
    mean = (rows[ids] * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return np.tanh(mean) @ weight.T + bias


@pytest.mark.parametrize(
    ("inputs", "mask"),
    [
        ("ids.npy", None),
        ("ids.npy", "mask.npy"),
        ("tokens.npz:input_ids", "tokens.npz:attention_mask"),
        ("tokens.parquet:input_ids", "tokens.parquet:attention_mask"),
    ],
)
def test_token_ids_with_their_masks(tokens, capsys, inputs, mask):
    states, ids, known = tokens
    if "parquet" in inputs:
        pa = pytest.importorskip("pyarrow")
        columns = {"input_ids": ids.tolist(), "attention_mask": known.astype(int).tolist()}
        pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), "tokens.parquet")
    further = [] if mask is None else ["--further", f"mask={mask}"]
    assert compare("--json", "--inputs", inputs, *further, model="nets_to_compare:Words") == 0
    found = json.loads(capsys.readouterr().out)
    used = np.ones_like(known) if mask is None else known
    d = logits.fisher_rao_distance(*(words(state, ids, used) for state in states))
    expected = np.sqrt(np.square(d).mean())
    assert found["network_distance"] == pytest.approx(expected, rel=1e-5)
    assert found["line"]["distance"] == pytest.approx(expected, rel=1e-5)
    assert found["files"]["inputs"] == inputs
    assert found["files"].get("further") == ({"mask": mask} if mask else None)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--further", "mask=short.npy"], "short.npy has 3 rows, and ids.npy 40"),
        (["--further", "mask=text.npy"], "text.npy: its entries are text"),
        (["--further", "mosk=mask.npy"], "unexpected keyword argument 'mosk'"),
        (["--further", "mask"], "'mask' is not NAME=FILE, as in mask=mask.npy"),
        (["--inputs", "lists.parquet"], "lists.parquet: name a column, lists.parquet:ids"),
        (["--inputs", "lists.parquet:id"], "it has no column id: name one, lists.parquet:ids"),
        (["--inputs", "lists.parquet:ids"], "its lists have 1 to 2 entries: pad them"),
        (["--inputs", "lists.parquet:gaps"], "1 of its 2 cells are empty"),
        (["--inputs", "lists.parquet:words"], "its lists must hold numbers: their type is string"),
        (["--inputs", "none.parquet:ids"], "none.parquet:ids: it has no rows"),
        (["--inputs", "bare.parquet:ids"], "bare.parquet:ids: it has no columns"),
        (["--further", "mask=mask.npy", "--further", "mask=ids.npy"], "names mask twice"),
        (["--inputs", "bad.parquet:ids"], "it is no parquet file, or a damaged one"),
        (["--inputs", "high.npy"], "the model fails on high.npy"),
    ],
)
def test_token_ids_that_are_wrong_are_named(tokens, capsys, flags, words):
    np.save("short.npy", np.ones((3, 5)))
    np.save("text.npy", np.array([["a"]] * NUM_INPUTS))
    np.save("high.npy", np.full((NUM_INPUTS, 5), 9))
    if "parquet" in flags[1]:
        pa = pytest.importorskip("pyarrow")
        columns = {"ids": [[1], [1, 2]], "gaps": [None, [1]], "words": [["a"], ["b"]]}
        pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), "lists.parquet")
        write = pytest.importorskip("pyarrow.parquet").write_table
        write(pa.table({"ids": pa.array([], pa.list_(pa.int64()))}), "none.parquet")
        write(pa.table({}), "bare.parquet")
        Path("bad.parquet").write_bytes(b"PAR1")
    try:
        status = compare("--inputs", "ids.npy", *flags, model="nets_to_compare:Words")
    except SystemExit as error:  # of what the parser itself refuses
        status = error.code
    assert status == 2
    assert words in capsys.readouterr().err


def _in_lightning(old, new):
    """As Lightning saves a module with a weighted loss and a moving average of its weights."""
    state = {f"model.{name}": value for name, value in new.items()}
    state |= {f"ema.module.{name}": value for name, value in old.items()}
    return {"state_dict": state | {"loss.weight": torch.ones(3), "ema.n_averaged": torch.ones(())}}


@pytest.mark.parametrize(
    ("part", "is_new"),
    [("model", True), ("ema.module", False), ("ema", None), ("loss", None), ("nothing", None)],
)
def test_parts_of_a_checkpoint_are_named(states, capsys, part, is_new):
    (old, new), _ = states
    torch.save(_in_lightning(old, new), "all.ckpt")
    assert compare(new="all.ckpt") == 2
    said = capsys.readouterr().err
    assert "name the part to take, all.ckpt:model or all.ckpt:ema.module" in said
    status = compare("--json", new=f"all.ckpt:{part}")
    seen = capsys.readouterr()
    if is_new is None:
        assert status == 2
        assert ("has no part nothing: it has state_dict, model, " in seen.err) == (
            part == "nothing"
        )
    else:
        assert (json.loads(seen.out)["network_distance"] > 0.0) == is_new


def test_state_dicts_of_a_checkpoint_are_named(states, capsys):
    (old, new), _ = states
    torch.save({"model": old, "ema": new}, "two.pt")
    assert compare(new="two.pt") == 2
    assert "name the part to take, two.pt:model or two.pt:ema" in capsys.readouterr().err
    assert compare("--json", new="two.pt:model") == 0
    assert json.loads(capsys.readouterr().out)["network_distance"] == 0.0


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
        ({"new": "whole.pt"}, "whole.pt: 0.bias holds torch.int8, the model's torch.float32"),
        ({"new": "new.pt:none"}, "new.pt has no part none: it has 0"),
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
    torch.save(old | {"0.bias": torch.ones(3, dtype=torch.int8)}, "whole.pt")
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
        (["old.csv", "new.csv", "--further", "a=x.npy"], "--further needs --model"),
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
