"""`infogeo certify`: accuracies of a saved network, certified and attacked; one line if wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from infogeo import cli
from infogeo.lipschitz import certificates, layers

NETS = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(32, 3)

    def forward(self, x):
        return self.last(self.inner(x) + torch.cat([x, x], 1).flatten(1))

def make():
    return Residual()

def wild():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Softplus())

def constant():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    nn.init.zeros_(net[1].weight)
    return net

def single():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(cli.sys.modules, "certified_nets", raising=False)
    (tmp_path / "certified_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    import certified_nets

    net = certified_nets.make()
    torch.save(net.state_dict(), "w.pt")
    x = torch.rand(40, 1, 4, 4)
    labels = net(x).argmax(1)
    labels[:4] = (labels[:4] + 1) % 3
    np.save("x.npy", x.numpy())
    np.save("y.npy", labels.numpy())
    return net.eval(), x, labels


COMMAND = "certify --model certified_nets:make --weights w.pt --inputs x.npy --labels y.npy -o out"


def run(capsys, more="", command=COMMAND):
    status = cli.main([*command.split(), *more.split()])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("order", ["2", "inf"])
def test_numbers_are_those_of_the_library(folder, capsys, order):
    net, x, labels = folder
    sizes = [0.0, 0.01, 0.05, 0.5]
    more = f"--order {order} --radii 0.05,0,0.5,0.01 --num-steps 6 --attacked 20 --json --clip 0 1"
    status, out, _ = run(capsys, more)
    found = json.loads(out)
    assert status == 0
    bound = layers.lipschitz_bound(net, order=float(order), input_shape=(1, 4, 4))
    assert found["lipschitz_constant"] == bound
    certify = certificates.margin_radius if order == "2" else certificates.l_inf_radius
    radii = certify(net(x).detach(), lipschitz_constant=bound).numpy()
    is_right = (net(x).argmax(1) == labels).numpy()
    assert found["radii"] == sizes
    assert found["certified_accuracy"] == [(is_right & (radii > s)).mean() for s in sizes]
    assert found["accuracy"] == 0.9
    left = found["attacked_accuracy"]
    assert left == sorted(left, reverse=True)
    certified = [(is_right & (radii > s))[:20].mean() for s in sizes]
    assert all(a >= c for a, c in zip(left, certified, strict=True))
    assert left[0] == is_right[:20].mean()
    assert left[-1] < left[0]
    assert found["broken_certificates"] == 0
    assert json.loads(Path("out/certify.json").read_text()) == found
    assert Path("out/certify.png").read_bytes()[:4] == b"\x89PNG"


def test_a_constant_that_is_too_small_is_found_out(folder, capsys):
    status, out, _ = run(capsys, "--constant 1e-3 --radii 0.5 --num-steps 10")
    assert status == 1
    assert "within a radius that the constant certifies: it is too small" in out


def test_what_is_asked_for_decides_the_exit_status(folder, capsys):
    for share, expected in (("0.9", 0), ("0.95", 1)):
        status, out, _ = run(capsys, f"--radii 0 --at-least {share} --attacked 0")
        assert status == expected
        assert "40 inputs, accuracy 0.9000; Lipschitz constant at most" in out
        assert "attacked:" not in out
    status, out, _ = run(capsys, "--num-steps 2 --attacked 3 --json")
    assert len(json.loads(out)["radii"]) == 21
    assert json.loads(out)["certified_accuracy"][-1] == 0.0


WRONG = [
    ("", "certify --model certified_nets:make --inputs x.npy --labels y.npy -o out", "--weights"),
    ("", COMMAND.replace("y.npy", "none.npy"), "cannot read none.npy"),
    ("", COMMAND.replace("y.npy", "x.npy"), "x.npy: its entries are float32"),
    ("", COMMAND.replace("y.npy", "short.npy"), "one class for each of 40 inputs"),
    ("", COMMAND.replace("y.npy", "high.npy"), "its classes go from 0 to 7"),
    ("", COMMAND.replace(":make --weights w.pt", ":wild --untrained"), "It jumps."),
    ("", COMMAND.replace(":make --weights w.pt", ":single --untrained"), "two or more logits"),
    ("", COMMAND.replace(":make --weights w.pt", ":constant --untrained"), "network is constant"),
    ("--radii 0,-1", COMMAND, "'-1' is not a number from 0 on"),
    ("--radii 0.1,x", COMMAND, "'x' is not a number"),
    ("--constant 0", COMMAND, "must be above 0"),
    ("--at-least 2", COMMAND, "not a share"),
    ("--at-least 0.5", COMMAND, "--at-least needs --radii"),
    ("--seed 9223372036854775808", COMMAND, "not a whole number from 0 to"),
    ("--clip 0 0.1", COMMAND, "lie in the box"),
    ("--untrained", COMMAND, "contradict each other"),
    ("--order 3", COMMAND, "invalid choice"),
]


@pytest.mark.parametrize(("more", "command", "message"), WRONG)
def test_what_can_be_wrong_is_one_line(folder, capsys, more, command, message):
    np.save("short.npy", np.zeros(3, dtype=int))
    np.save("high.npy", np.arange(40) % 8)
    status, out, err = run(capsys, more, command)
    assert status == 2
    assert out == ""
    line = err.strip().splitlines()[-1]
    assert message in line
