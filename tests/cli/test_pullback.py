"""`infogeo pullback`: a scan from files, its report, and one line for what is wrong."""

import importlib.util
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Script

from infogeo import cli, pullback
from infogeo.cli import _pullback_report

NETS = """
import os, signal
import torch
from infogeo.pullback import PullbackMetric, heads

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(36, 4)

    def forward(self, x):
        die_at = os.environ.get("DIE_AT")
        if die_at and abs(float(x.flatten()[0]) - float(die_at)) < 1e-6:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x.flatten(1))

def make():
    return Net()

class Mortal(Net):
    # Dies once, at the second batch.

    def forward(self, x):
        if abs(float(x.flatten()[0]) - 0.4) < 1e-6 and not os.path.exists("died"):
            open("died", "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

def mortal():
    return Mortal()

def warm():
    return PullbackMetric(Net(), temperature=4.0)

def softmax():
    return torch.nn.Sequential(Net(), torch.nn.Softmax(dim=-1))

def regression():
    return PullbackMetric(Net(), heads.normal_fixed_std(0.5))

def function():
    return PullbackMetric(lambda x: x.flatten(1)[:, :3])

def scripted():
    net = torch.nn.Sequential()
    net.add_module("flatten", torch.nn.Flatten())
    net.add_module("linear", torch.nn.Linear(36, 4))
    return torch.jit.script(net)

def frozen():
    net = scripted().eval()
    net.load_state_dict(torch.load("weights.pt"))
    return PullbackMetric(torch.jit.freeze(net))

def broken():
    raise OSError("no such checkpoint\\nand more")

number = 3
"""
NUM_INPUTS = 11
SCALE = Path(__file__).parent.parent.parent / "docs" / "scale.md"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, its weights and inputs, as the current one."""
    (tmp_path / "nets_of_the_test.py").write_text(NETS)
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(NUM_INPUTS, 6, 6, generator=generator)
    x[:, 0, 0] = torch.arange(NUM_INPUTS) / 10.0
    np.save(tmp_path / "x.npy", x.numpy())
    state = {
        "linear.weight": torch.randn(4, 36, generator=generator),
        "linear.bias": torch.randn(4, generator=generator),
    }
    torch.save(state, tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(_pullback_report, "_NUM_EXAMPLES", 1)  # figures take most of the time
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    sys.modules.pop("nets_of_the_test", None)


BASIC = {
    "--model": "nets_of_the_test:make",
    "--weights": "weights.pt",
    "--inputs": "x.npy",
    "-o": "out",
    "--batch-size": "4",
}


def arguments(*flags, **changes):
    options = BASIC | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    pairs = [part for pair in options.items() if pair[1] is not None for part in pair]
    return ["pullback", *pairs, *flags]


def columns(folder):
    scan = pullback.read_scan(folder)
    return {name: scan.column(name) for name in scan.names}


def assert_same(folder, other):
    for (name, column), expected in zip(
        columns(folder).items(), columns(other).values(), strict=True
    ):
        np.testing.assert_array_equal(column, expected, err_msg=name)


# ---------------------------------------------------------------- what works


def test_numbers_report_and_figures(place, capsys, monkeypatch):
    monkeypatch.setattr(_pullback_report, "_NUM_EXAMPLES", 4)
    assert cli.main(arguments("--json")) == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    assert summary == json.loads((place / "out" / "summary.json").read_text())
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "maps.png",
        *(f"part-{k:08}.npz" for k in range(3)),
        "report.html",
        "scan.json",
        "sensitivities.png",
        "summary.json",
    ]
    assert shown.err.splitlines()[0] == "[  0%] loading"
    assert shown.err.splitlines()[-1] == "[100%] report"

    state = torch.load("weights.pt", weights_only=True)
    x = torch.from_numpy(np.load("x.npy"))
    z = x.flatten(1) @ state["linear.weight"].T + state["linear.bias"]
    p = z.double().softmax(-1)
    fisher = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    weight = state["linear.weight"].double()
    speeds = torch.linalg.eigvalsh(weight.T @ fisher @ weight)[:, -1].sqrt().numpy()
    order = np.argsort(-speeds)
    assert [row["input"] for row in summary["most sensitive"]] == order[:10].tolist()
    most = summary["most sensitive"][0]
    assert most["sensitivity"] == pytest.approx(speeds.max(), rel=1e-5)
    assert most["probability"] == pytest.approx(float(p[order[0]].max()), rel=1e-5)
    assert most["predicted"] == int(p[order[0]].argmax())
    assert summary["sensitivity"]["median"] == pytest.approx(np.sort(speeds)[5], rel=1e-5)
    assert summary["rank"] == {"smallest": 3, "largest": 3}
    assert (summary["inputs"], summary["temperature"]) == (NUM_INPUTS, 1.0)

    # Once more, for people: nothing is computed again.
    before = [path.stat().st_mtime_ns for path in sorted((place / "out").glob("part-*"))]
    assert cli.main(arguments()) == 0
    assert capsys.readouterr().out.splitlines()[0] == "11 inputs, temperature 1"
    assert before == [path.stat().st_mtime_ns for path in sorted((place / "out").glob("part-*"))]
    page = (place / "out" / "report.html").read_text()
    assert page.count("<img") == 2
    assert "11 inputs were measured, at temperature 1." in page

    # What is left of sensitivity where confidence is taken into account.
    doubt = 1.0 - p.amax(-1).numpy()
    columns = np.stack([np.log(doubt * (1.0 - doubt)), np.ones(11)], axis=-1)
    left = np.log(speeds) - columns @ np.linalg.lstsq(columns, np.log(speeds), rcond=None)[0]
    found = summary["beyond confidence"]
    assert [row["input"] for row in found["most sensitive"]] == np.argsort(-left)[:10].tolist()
    assert found["most sensitive"][0]["factor"] == pytest.approx(np.exp(left.max()), rel=1e-4)
    variance = np.var(np.log(speeds))
    assert found["explained"] == pytest.approx(1.0 - np.var(left) / variance, rel=1e-4)

    # The rows of both tables lead to their inputs in the map, and nothing private is shown.
    listed = re.findall('<tr data-input="(\\d+)"><td><a href="#input-(\\d+)">(\\d+)</a>', page)
    assert [row[0] for row in listed] == [
        str(row["input"]) for row in (*summary["most sensitive"], *found["most sensitive"])
    ]
    assert all(len(set(row)) == 1 for row in listed)
    numbers = json.loads(re.search('application/json">(.*?)</script>', page)[1])["numbers"]
    assert numbers == list(range(11))
    words = re.sub('<(script|style).*?</\\1>|data:[^"]*', "", page, flags=re.DOTALL)
    assert re.search(r"\b_\w|infogeo\.|0x|partial\(|<function", words) is None
    assert "heads.categorical" in words
    assert "input_metrics.euclidean" in words
    assert "quantities.outputs" in words


@pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None, reason="safetensors is not installed"
)
def test_safetensors_npz_and_double_precision_inputs(place, capsys):
    from safetensors.torch import save_file

    save_file(torch.load("weights.pt", weights_only=True), "weights.safetensors")
    np.savez("x.npz", inputs=np.load("x.npy").astype(">f8"))
    assert cli.main(arguments()) == 0
    assert cli.main(arguments("-o", "other", weights="weights.safetensors", inputs="x.npz")) == 0, (
        capsys.readouterr().err
    )
    assert_same("out", "other")


@pytest.mark.parametrize("name", ["net.ts", "net.torchscript", "net.pt"])
def test_networks_of_torchscript_are_read_with_their_weights(place, name, capsys):
    assert cli.main(arguments()) == 0
    network = nets_with_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what people have nevertheless
        torch.jit.trace(network, torch.rand(2, 6, 6)).save(name)
    options = ["--model", name, "--inputs", "x.npy", "-o", "other", "--batch-size", "4"]
    assert cli.main(["pullback", *options]) == 0, capsys.readouterr().err
    assert_close("other", "out")
    assert cli.main(["pullback", *options, "--weights", "weights.pt"]) == 2
    assert f"{name} has weights of its own" in capsys.readouterr().err


def assert_close(folder, other):
    for name, column in columns(folder).items():
        np.testing.assert_allclose(column, columns(other)[name], rtol=1e-4, err_msg=name)


def nets_with_weights():
    """Return the network of the test, as it is trained, without the test's own module."""
    network = torch.nn.Sequential()
    network.add_module("flatten", torch.nn.Flatten())
    network.add_module("linear", torch.nn.Linear(36, 4))
    network.load_state_dict(torch.load("weights.pt", weights_only=True))
    return network.eval()


def test_exported_networks_are_loaded_by_a_factory(place, capsys):
    assert cli.main(arguments()) == 0
    dynamic = ({0: torch.export.Dim("batch")},)
    x = torch.rand(2, 6, 6)
    exported = torch.export.export(nets_with_weights(), (x,), dynamic_shapes=dynamic)
    torch.export.save(exported, "n.pt2")
    (place / "exported_net.py").write_text(
        "import torch\ndef make(): return torch.export.load('n.pt2').module()\n"
    )
    options = ["--model", "exported_net:make", "--untrained", "--inputs", "x.npy", "-o", "other"]
    assert cli.main(["pullback", *options]) == 0, capsys.readouterr().err
    assert_close("other", "out")
    assert cli.main(arguments(model="n.pt2", weights=None)) == 2
    assert "torch.export.load('n.pt2').module()" in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return (open, ("evil.txt", "w"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weights.pt", "it is no network of TorchScript. A state dict goes to --weights"),
        ("evil.pt", "it is no network of TorchScript"),
        ("none.ts", "cannot read none.ts"),
        ("net.onnx", "onnx"),
    ],
)
def test_files_that_hold_no_network_are_refused_and_not_unpickled(place, name, words, capsys):
    torch.save(Evil(), "evil.pt")
    (place / "net.onnx").write_bytes(b"no network")
    assert cli.main(arguments(model=name, weights=None)) == 2
    assert words in capsys.readouterr().err
    assert not (place / "evil.txt").exists()


def test_other_models(place, capsys):
    for factory, weights, names, temperature in (
        ("warm", "weights.pt", ("logits", "log_eigenvalues", "rank"), 4.0),
        ("regression", "weights.pt", ("outputs", "log_eigenvalues", "rank"), 1.0),
        ("function", None, ("logits", "log_eigenvalues", "rank"), 1.0),
    ):
        model = f"nets_of_the_test:{factory}"
        assert cli.main(arguments("-o", factory, model=model, weights=weights)) == 0
        scan = pullback.read_scan(factory)
        assert (scan.names, scan.settings["temperature"]) == (names, temperature)
    capsys.readouterr()
    assert cli.main(arguments("-o", "hot", "--json", temperature="2.5")) == 0
    assert json.loads(capsys.readouterr().out)["temperature"] == 2.5


def test_untrained_networks_are_scanned_if_they_are_said_to_be(place, capsys):
    assert cli.main(arguments("--untrained", weights=None)) == 0
    assert cli.main(arguments("--untrained", "-o", "other")) == 2
    assert "--weights and --untrained contradict" in capsys.readouterr().err.splitlines()[-1]


def test_an_array_of_several_is_named(place, capsys):
    np.savez("two.npz", x=np.load("x.npy"), y=np.zeros(3))
    assert cli.main(arguments()) == 0
    assert cli.main(arguments("-o", "other", inputs="two.npz:x")) == 0
    assert_same("out", "other")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_models_of_torchscript(place):
    assert cli.main(arguments()) == 0
    for factory, weights in (("scripted", "weights.pt"), ("frozen", None)):
        model = f"nets_of_the_test:{factory}"
        assert cli.main(arguments("-o", factory, model=model, weights=weights)) == 0
        for (name, column), expected in zip(
            columns(factory).items(), columns("out").values(), strict=True
        ):
            np.testing.assert_allclose(column, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_inputs_that_are_no_images(place):
    np.save("flat.npy", np.load("x.npy").reshape(NUM_INPUTS, 36))
    assert cli.main(arguments(inputs="flat.npy")) == 0
    assert (place / "out" / "maps.png").exists()


@pytest.mark.parametrize(("factor", "low", "high"), [(30.0, 1e-150, 1e-30), (1e4, -1.0, 1e-300)])
def test_saturated_predictions(factor, low, high, place, capsys):
    state = torch.load("weights.pt", weights_only=True)
    torch.save({name: factor * value for name, value in state.items()}, "large.pt")
    assert cli.main(arguments("--json", weights="large.pt")) == 0
    assert low < json.loads(capsys.readouterr().out)["sensitivity"]["smallest"] < high
    assert np.isfinite(pullback.read_scan("out").column("log_eigenvalues")).all()


# ---------------------------------------------------------------- shards


def test_shards_and_merging(place, capsys):
    assert cli.main(arguments()) == 0
    capsys.readouterr()
    assert cli.main(arguments("-o", "a", shard="0/2")) == 0
    assert capsys.readouterr().out.startswith("2 of 3 batches are in a: the others are missing.")
    assert cli.main(arguments("-o", "b", "--json", shard="1/2")) == 0
    assert json.loads(capsys.readouterr().out) == {"batches": 3, "missing": 2, "folder": "b"}
    assert not list(place.glob("[ab]/report.html"))
    assert cli.main(["pullback", "--merge", "a", "b", "-o", "merged"]) == 0
    assert_same("out", "merged")
    assert (place / "merged" / "report.html").exists()
    assert not (place / "merged" / "maps.png").exists()
    # With the model: what no folder has is computed, and the maps are drawn.
    assert cli.main(arguments("-o", "c", "--merge", "b")) == 0
    assert_same("out", "c")
    assert (place / "c" / "maps.png").exists()


COMMAND = """
import sys, torch
from infogeo.cli import main

torch.set_num_threads(1)
sys.exit(main())
"""


def run(place, *flags, **environment):
    (place / "command.py").write_text(COMMAND)
    return Script(place / "command.py", place, *arguments(*flags), **environment).end(limit=120)


def test_torchrun_and_a_kill(place):
    """Rank 1 of 2 dies at its batch (inputs 4 to 7), and is started again."""
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    assert run(place, **torchrun, DIE_AT="0.4").returncode == -signal.SIGKILL
    assert cli.main(arguments("-o", "whole")) == 0
    assert cli.main(arguments(shard="0/2")) == 0
    assert pullback.read_scan("out").missing == (1,)
    assert not (place / "out" / "report.html").exists()
    done = run(place, **torchrun)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "11 inputs, temperature 1")
    assert_same("out", "whole")
    assert (place / "out" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no torchrun")
def test_torchrun_itself_starts_killed_processes_again(place):
    """With the line of the documentation, but for smaller batches."""
    (line,) = re.findall(r"^torchrun (--standalone .*)$", SCALE.read_text(), flags=re.MULTILINE)
    (place / "nets.py").write_text("from nets_of_the_test import mortal as make")
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    done = subprocess.run(
        [*torchrun, *line.split(), "--batch-size", "4"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert (place / "died").exists()
    assert (place / "out" / "report.html").exists()
    assert not list((place / "out").glob(".*.partial"))
    assert cli.main(arguments("-o", "whole")) == 0
    assert_same("out", "whole")


def test_torchrun_environment_that_is_wrong(place, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(arguments()) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "infogeo pullback: RANK/WORLD_SIZE: '2/2' is not I/N with I from 0 to N - 1, as in 0/2"
    )


# ---------------------------------------------------------------- what a user can put right


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def write_bad_files():
    with open("bomb.pt", "wb") as file:
        pickle.dump({"linear.weight": Bomb()}, file)
    with open("text.pt", "w") as file:
        file.write("hello")
    with open("text.safetensors", "w") as file:
        file.write("hello")
    torch.save({"state_dict": {}, "epoch": 3}, "checkpoint.pt")
    torch.save({"linear.weight": torch.zeros(4, 35)}, "small.pt")
    torch.save({"linear.weight": torch.zeros(4, 36, dtype=torch.complex64)}, "complex.pt")
    torch.save({0: torch.zeros(4, 36)}, "numbers.pt")
    x = np.load("x.npy")
    np.save("bytes.npy", (255 * x).astype(np.uint8))
    np.save("vector.npy", x[:, 0, 0])
    np.save("empty.npy", x[:0])
    np.save("small.npy", x[:, :5])
    np.save("nan.npy", np.where(x > 0.99, np.nan, x))
    large = x.astype(float)
    large[2, 3, 4] = 1e300  # in single precision infinite
    np.save("large.npy", large)
    np.save("objects.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    np.savez("two.npz", a=x, b=x)
    np.savez("objects.npz", x=np.array([[Bomb()]], dtype=object))
    with open("cut.npy", "wb") as file, open("x.npy", "rb") as whole:
        file.write(whole.read()[:500])
    with open("text.npz", "w") as file:
        file.write("hello")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "infogeo pullback: give --model, or --merge (see"),
        ({"inputs": None}, "infogeo pullback: --model needs --inputs"),
        ({"model": "nets_of_the_test"}, "--model nets_of_the_test is not MODULE:FACTORY"),
        ({"model": "no_such_module:make"}, "there is no module no_such_module, neither installed"),
        ({"model": "nets_of_the_test:none"}, "AttributeError: module 'nets_of_the_test' has no"),
        ({"model": "nets_of_the_test:broken"}, "nets_of_the_test:broken: OSError: no such check"),
        ({"model": "nets_of_the_test:number"}, "TypeError: 'int' object is not callable"),
        ({"model": "builtins:dict"}, "must return a torch.nn.Module or a PullbackMetric: it retur"),
        ({"model": "nets_of_the_test:function"}, "--weights needs a torch.nn.Module to load"),
        ({"weights": None}, "--model nets_of_the_test:make needs --weights, or the network may"),
        ({"model": "nets_of_the_test:warm", "weights": None}, "nets_of_the_test:warm needs --weig"),
        ({"weights": "complex.pt"}, "complex.pt: linear.weight is complex, the model's is real"),
        ({"weights": "numbers.pt"}, "numbers.pt holds more than a state dict"),
        ({"weights": "none.pt"}, "infogeo: cannot read none.pt: No such file or directory"),
        ({"weights": "bomb.pt"}, "bomb.pt: it is no state dict of tensors alone: save the weights"),
        ({"weights": "text.pt"}, "text.pt: it is no state dict of tensors alone"),
        (
            {"weights": "text.safetensors"},
            "text.safetensors: it is no safetensors file, or a damaged one",
        ),
        ({"weights": "checkpoint.pt"}, "checkpoint.pt holds more than a state dict"),
        ({"weights": "small.pt"}, "small.pt does not fit the model: Error(s) in loading"),
        ({"inputs": "none.npy"}, "infogeo: cannot read none.npy: No such file or directory"),
        ({"inputs": "weights.pt"}, "weights.pt: the name must end in .npy, .npz or .parquet"),
        ({"inputs": "bytes.npy"}, "bytes.npy: its entries are uint8: save the inputs as the model"),
        ({"inputs": "vector.npy"}, "one input in each row: its shape is (11,)"),
        ({"inputs": "empty.npy"}, "one input in each row: its shape is (0, 6, 6)"),
        ({"inputs": "small.npy"}, "fails on small.npy, whose inputs have shape (5, 6): mat1 and"),
        ({"inputs": "nan.npy"}, "nan.npy: row 2 holds nan at 3, 3, counted from 0"),
        ({"inputs": "large.npy"}, "large.npy: row 2 holds inf at 3, 4, counted from 0: inputs"),
        ({"inputs": "objects.npy"}, "objects.npy: "),
        (
            {"inputs": "objects.npz"},
            "objects.npz: it must hold real numbers: its entries are objects",
        ),
        ({"inputs": "two.npz"}, "two.npz: it holds a, b: name one of them, two.npz:a"),
        ({"inputs": "cut.npy"}, "cut.npy: it breaks off: its 11 rows are not all there"),
        ({"inputs": "text.npz"}, "text.npz: "),
        ({"batch_size": "0"}, "'0' is not a whole number from 1"),
        ({"temperature": "-1"}, "--temperature: temperature must be a positive number: got -1.0."),
        ({"shard": "2/2"}, "'2/2' is not I/N with I from 0 to N - 1, as in 0/2"),
        ({"shard": "1"}, "'1' is not I/N"),
        ({"device": "cuda:99"}, "infogeo: --device cuda:99 cannot be used: "),
        ({"device": "abacus"}, "infogeo: --device abacus cannot be used: "),
        ({"merge": "none"}, "--merge: folder must hold a scan: none has no scan.json"),
    ],
)
def test_bad_input_is_one_line_and_status_2(changes, message, place, capsys):
    write_bad_files()
    assert cli.main(arguments(**changes)) == 2
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if not line.startswith("[")]
    assert shown.out == ""
    assert len(lines) == 1
    assert message in lines[0]
    assert not (place / "out").exists()
    assert not (place / "exploded").exists()


def test_a_folder_of_another_scan(place, capsys):
    assert cli.main(arguments()) == 0
    assert cli.main(arguments(temperature="2")) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "infogeo pullback: out holds a scan with other settings: temperature was 1.0 and is now "
        "2.0. Take another folder for this scan."
    )
    assert cli.main(arguments("--merge", "out", "-o", "new", temperature="2")) == 2


def test_a_full_disk(place, capsys, monkeypatch):
    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    assert cli.main(arguments()) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "infogeo: cannot write to out: No space left on device"
    )
    assert not (place / "out").exists()


def test_out_of_memory(place, capsys, monkeypatch):
    def refuse(*arguments, **keywords):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pullback.PullbackMetric, "log_spectrum", refuse)
    assert cli.main(arguments()) == 2
    assert "out of memory: give a --batch-size smaller than 4" in capsys.readouterr().err


def test_a_model_that_ends_with_a_softmax_is_pointed_out(place, capsys):
    torch.save({f"0.{k}": v for k, v in torch.load("weights.pt").items()}, "softmax.pt")
    options = arguments(model="nets_of_the_test:softmax", weights="softmax.pt")
    assert cli.main(options) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "softmax" in line]
    assert len(lines) == 1  # of three batches
    assert lines[0].startswith("infogeo pullback: The outputs of model at x are probabilities")


TRANSFORMER = """
import torch
from torch import nn


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 192, 16, 16)
        self.place = nn.Parameter(0.02 * torch.randn(1, 196, 192))
        layer = nn.TransformerEncoderLayer(
            192, 3, 768, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(192, 1000)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x).flatten(2).mT + self.place).mean(1))
"""
MEASURED = """
import resource, sys
from infogeo.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="memory in kibibytes")
def test_images_of_224_pixels_and_1000_classes_fit_into_4_gib(tmp_path):
    """The figure in docs/scan.md; it takes minutes, for 999 backward passes."""
    (tmp_path / "vit.py").write_text(TRANSFORMER)
    x = np.random.default_rng(0).random((1, 3, 224, 224), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    what = ["--model", "vit:Transformer", "--untrained", "--inputs", "x.npy", "-o", "out"]
    command = [sys.executable, "-c", MEASURED, "pullback", *what]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    peak = float(run.stdout.splitlines()[-1])
    print(f"peak memory: {peak:.2f} GiB")
    assert (tmp_path / "out" / "report.html").is_file()
    assert peak < 4.0
