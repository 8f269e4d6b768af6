"""Certify a network: from training to a curve of guarantees
=========================================================

A network whose Lipschitz constant is known cannot change its decision within a certain radius. This
page trains one with the layers of `infogeo.lipschitz`, and lets ``infogeo certify`` say how many
held-out images are certified, beside how many an attack leaves.
"""

# %%
# A network with a Lipschitz constant
# -----------------------------------
# Orthogonal matrices and activations that sort pairs of features: no output moves further than the
# input does.
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from infogeo import cli
from infogeo.lipschitz import layers, losses

MODEL = """
import torch
from infogeo.lipschitz import layers

def make():
    return torch.nn.Sequential(
        torch.nn.Flatten(), layers.OrthogonalLinear(64, 64), layers.GroupSort(),
        layers.OrthogonalLinear(64, 10),
    )
"""
folder = Path(tempfile.mkdtemp())
(folder / "small_network.py").write_text(MODEL)
sys.path.insert(0, str(folder))
namespace = {}
exec(MODEL, namespace)
bunch = load_digits()
x = torch.from_numpy(bunch.images.astype(np.float32) / 16.0)
y = torch.from_numpy(bunch.target)

# %%
# Training
# --------
# The loss asks for large margins: the smaller ``tau``, the larger.
torch.manual_seed(0)
torch.set_num_threads(1)
model = namespace["make"]()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(6):
    for batch in torch.randperm(1300).split(64):
        optimizer.zero_grad()
        losses.tau_cross_entropy(model(x[batch]), y[batch], tau=8.0, check=False).backward()
        optimizer.step()
print(f"Lipschitz constant at most {layers.lipschitz_bound(model):.6f}")

# %%
# The certificates
# ----------------
# On a command line: ``infogeo certify --model small_network:make --weights w.pt --inputs x.npy
# --labels y.npy -o certified``. It reads the weights, bounds the constant again, and attacks the
# first images. That an attack fails proves nothing; that a certificate holds is proved.
torch.save(model.state_dict(), folder / "w.pt")
np.save(folder / "x.npy", x[1300:].numpy())
np.save(folder / "y.npy", y[1300:].numpy())
files = {"--weights": "w.pt", "--inputs": "x.npy", "--labels": "y.npy", "-o": "certified"}
given = [part for option, name in files.items() for part in (option, str(folder / name))]
attack = ["--num-steps", "20", "--restarts", "1", "--attacked", "100"]
radii = ["--radii", "0,0.1,0.2,0.3,0.5,0.8"]
status = cli.main(["certify", "--model", "small_network:make", *given, *radii, *attack])
print("exit status", status)

# %%
# The curves: the truth lies between them.
shutil.move(folder / "certified" / "certify.png", "certify_a_network.png")
