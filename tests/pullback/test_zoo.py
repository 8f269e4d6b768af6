"""The metric of models as people build them, against the textbook formula in float64."""

import warnings

import pytest
import torch
from pullback_references import dense_matrix
from torch import nn

from infogeo.pullback import Batched, Loop, Operator, PullbackMetric

F32, F64 = torch.float32, torch.float64


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 7))


def max_pool_net():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 7)
    )


def average_pool_net():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 7),
    )


class Residual(nn.Module):
    """A convolutional block with batch normalisation and a skip connection."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 7))
        self.norm.running_mean.uniform_(-0.3, 0.3)
        self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.relu(x + self.second(torch.relu(self.norm(x)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.last = nn.Linear(12, 7)

    def forward(self, x):
        return self.last(self.lstm(x.squeeze(1))[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(4, 7)

    def forward(self, x):
        return self.last(self.encoder(x.squeeze(1)).mean(1))


def torchlip_net():
    layers = pytest.importorskip("deel.torchlip")
    net = layers.Sequential(
        nn.Flatten(),
        layers.SpectralLinear(16, 16),
        layers.GroupSort2(),
        layers.SpectralLinear(16, 7),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return net.vanilla_export()


def orthogonium_net():
    layers = pytest.importorskip("orthogonium.layers")
    net = nn.Sequential(
        nn.Flatten(), layers.OrthoLinear(16, 16), layers.MaxMin(axis=1), layers.OrthoLinear(16, 7)
    )
    for part in net:
        if nn.utils.parametrize.is_parametrized(part):
            nn.utils.parametrize.remove_parametrizations(part, "weight")
    return net


MODELS = {
    "MLP": mlp,
    "CNN with max pooling": max_pool_net,
    "CNN with average pooling": average_pool_net,
    "residual net with batch normalisation": Residual,
    "LSTM": Recurrent,
    "transformer encoder": Transformer,
    "deel-torchlip": torchlip_net,
    "orthogonium": orthogonium_net,
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().double().eval()


@pytest.fixture
def x():
    return torch.randn(3, 1, 4, 4, dtype=F64, generator=torch.Generator().manual_seed(1))


def assert_close(seen, expected, rtol, atol=0.0):
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("strategy", [None, Loop(), Batched()])
def test_the_factor_squares_to_the_textbook_formula(model, x, strategy):
    G = dense_matrix(model, x)
    A = PullbackMetric(model, strategy=strategy).factor(x)
    assert A.shape == (3, 6, 16)
    assert_close(A.mT @ A, G, rtol=0.0, atol=1e-12 * float(G.abs().max()))


def test_norms_spectra_and_products_are_those_of_the_textbook_formula(model, x):
    G = dense_matrix(model, x)
    pulled = PullbackMetric(model)
    v = torch.randn_like(x)
    squares = torch.einsum("bi,bij,bj->b", v.flatten(1), G, v.flatten(1))
    assert_close(pulled.norm(x, v), squares.sqrt(), rtol=1e-12)
    largest = torch.linalg.eigvalsh(G).flip(-1)[:, :6]
    assert_close(pulled.spectrum(x).values, largest, rtol=1e-11, atol=1e-13 * float(largest.max()))
    by_products = PullbackMetric(model, strategy=Operator(rtol=1e-10))
    assert_close(by_products.spectrum(x, num_values=2).values, largest[:, :2], rtol=1e-9)


def test_float32_agrees_with_float64(model, x):
    exact = PullbackMetric(model).spectrum(x.float().double()).values
    seen = PullbackMetric(model.float()).spectrum(x.float()).values
    assert (seen[:, 0] / exact[:, 0] - 1.0).abs().max() < 1e-4
    assert seen.dtype == F32
    assert seen.isfinite().all()


def test_samples_do_not_see_each_other(model, x):
    whole = PullbackMetric(model).matrix(x)
    alone = torch.cat([PullbackMetric(model).matrix(x[i : i + 1]) for i in range(3)])
    assert_close(whole, alone, rtol=0.0, atol=1e-13 * float(whole.abs().max()))


def test_training_mode_is_refused_where_it_matters(x):
    model = Residual().double()
    with pytest.raises(ValueError, match=r"BatchNorm2d 'norm' is in training mode\. Call model"):
        PullbackMetric(model).factor(x)
    model.norm.eval()
    with pytest.raises(ValueError, match=r"Dropout 'last.0' is in training mode\. Call model"):
        PullbackMetric(model).factor(x)
    assert PullbackMetric(model.eval()).factor(x).shape == (3, 6, 16)


@pytest.mark.parametrize("strategy", [None, Loop(), Batched(), Operator()])
def test_views_of_a_large_tensor_carry_no_more_than_themselves(strategy):
    seen = set()
    plain = mlp().double()

    def model(x):
        seen.add(x.untyped_storage().nbytes())
        return plain(x)

    x = torch.randn(100_000, 1, 4, 4, dtype=F64)[7:9]
    pulled = PullbackMetric(model, strategy=strategy)
    pulled.spectrum(x, num_values=1)
    pulled.norm(x, x)
    pulled.output_distance(x, x)
    pulled.hutchinson_trace(x, num_samples=2)
    assert max(seen) == 2 * 16 * 8


# ---------------------------------------------------------------- tokens


class TokenClassifier(nn.Module):
    """Embeddings, an encoder and logits for the next token at each place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.embed = nn.Embedding(11, 4)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.last = nn.Linear(4, 11)

    def from_embeddings(self, embedded):
        return self.last(self.encoder(embedded))

    def forward(self, tokens):
        return self.from_embeddings(self.embed(tokens))


def test_token_models_are_measured_through_their_embeddings():
    model = TokenClassifier().double().eval()
    tokens = torch.tensor([[1, 5, 2], [3, 3, 9]])
    embedded = model.embed(tokens).detach()
    with torch.no_grad():
        assert torch.equal(model.from_embeddings(embedded), model(tokens))

    def last_place(e):
        return model.from_embeddings(e)[:, -1]

    pulled = PullbackMetric(last_place)
    G = dense_matrix(last_place, embedded)
    assert_close(pulled.matrix(embedded), G, rtol=0.0, atol=1e-12 * float(G.abs().max()))
    # How far the prediction moves, to first order, if the token at one place becomes another.
    change = torch.zeros_like(embedded)
    change[:, 0] = model.embed.weight[7].detach() - embedded[:, 0]
    small = pulled.output_distance(embedded, embedded + 1e-5 * change)
    assert_close(small / 1e-5, pulled.norm(embedded, change), rtol=1e-3)
    with pytest.raises(ValueError, match=r"select the outputs if there is more than one axis"):
        PullbackMetric(model.from_embeddings).matrix(embedded)
    with pytest.raises(TypeError, match=r"x must hold floating-point numbers.*torch.int64"):
        PullbackMetric(model).matrix(tokens)
