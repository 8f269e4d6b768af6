"""Scans: what a killed process leaves is whole, and what is there is not computed again."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Script

from infogeo import pullback
from infogeo.pullback import Batched, PullbackMetric, _parts, quantities, strategies

NUM_BATCHES = 6
QUANTITIES = {
    "log_eigenvalues": PullbackMetric.log_spectrum,
    "trace": PullbackMetric.trace,
    "rank": PullbackMetric.rank,
    "direction": quantities.direction,
}


def make_model(seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return model.eval()


def make_inputs():
    return torch.randn(17, 5, generator=torch.Generator().manual_seed(1))


def make_batches():
    return make_inputs().split(3)


def columns_of(scan):
    return {name: scan.column(name) for name in scan.names}


def assert_same_columns(scan, other):
    expected = columns_of(other)
    for name, column in columns_of(scan).items():
        assert column.dtype == expected[name].dtype
        np.testing.assert_array_equal(column, expected[name], strict=True)


# ---------------------------------------------------------------- what is measured


def test_columns_are_those_of_the_metric(tmp_path):
    model, inputs = make_model(), make_inputs()
    done = []
    scan = pullback.scan(
        model,
        make_batches(),
        quantities=QUANTITIES,
        out=tmp_path / "a" / "b",
        progress=lambda *numbers: done.append(numbers),
    )
    metric = PullbackMetric(model)
    assert scan.missing == ()
    assert scan.names == tuple(QUANTITIES)
    assert done == [(k, NUM_BATCHES) for k in range(NUM_BATCHES + 1)]
    rtol = 1e-5
    np.testing.assert_allclose(
        scan.column("log_eigenvalues"), metric.log_spectrum(inputs), rtol=rtol, atol=rtol
    )
    np.testing.assert_allclose(scan.column("trace"), metric.trace(inputs), rtol=rtol)
    np.testing.assert_array_equal(scan.column("rank"), metric.rank(inputs))
    along = metric.norm(inputs, torch.from_numpy(scan.column("direction")))
    np.testing.assert_allclose(along.log() * 2, scan.column("log_eigenvalues")[:, 0], atol=1e-5)
    sizes = [len(columns["rank"]) for _, columns in scan.parts()]
    assert sizes == [3, 3, 3, 3, 3, 2]


def test_default_quantities_temperature_and_a_loader_with_labels(tmp_path):
    model, inputs = make_model(), make_inputs()
    data = torch.utils.data.TensorDataset(inputs, torch.zeros(len(inputs)))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    scan = pullback.scan(PullbackMetric(model, temperature=2.0), loader, out=tmp_path)
    assert scan.names == ("outputs", "log_eigenvalues", "rank")
    assert scan.settings["temperature"] == 2.0
    with torch.no_grad():
        np.testing.assert_allclose(scan.column("outputs"), model(inputs) / 2.0, rtol=1e-5)
    expected = PullbackMetric(model, temperature=2.0).log_spectrum(inputs)
    np.testing.assert_allclose(scan.column("log_eigenvalues"), expected, atol=1e-5)


def test_the_factor_is_computed_once_for_all_quantities(tmp_path):
    model, calls = make_model(), []
    model.register_forward_hook(lambda module, arguments, z: calls.append(z.requires_grad))
    for folder in ("first", "second"):  # the first one looks at the model, once
        calls.clear()
        pullback.scan(model, make_batches()[:1], quantities=QUANTITIES, out=tmp_path / folder)
    assert calls == [True]


def test_a_quantity_may_change_what_it_is_given(tmp_path):
    def overwritten(metric, x):
        return metric.scaled_factor(x).rows.zero_()[:, 0, 0]

    quantities = {"overwritten": overwritten, "trace": PullbackMetric.trace}
    found = scan_of(tmp_path / "a", chosen=quantities).column("trace")
    expected = PullbackMetric(make_model()).trace(torch.cat(make_batches()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.min() > 0.0


def test_what_is_faster_does_not_decide_the_digits(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a measurement of the time")

    monkeypatch.setattr(strategies, "_measure", refuse)
    with pytest.raises(AssertionError, match="a measurement of the time"):
        PullbackMetric(make_model()).trace(make_inputs())
    scan_of(tmp_path / "usual")
    batched = scan_of(tmp_path / "b", model=PullbackMetric(make_model(), strategy=Batched()))
    assert_same_columns(pullback.read_scan(tmp_path / "usual"), batched)


def test_operations_that_cannot_be_batched(tmp_path):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return 2.0 * x

        @staticmethod
        def backward(context, gradient):
            return 2.0 * torch.from_numpy(gradient.numpy())

    model = make_model()
    doubled = PullbackMetric(lambda x: Double.apply(model(x)))
    with pytest.raises(RuntimeError, match=r"Batched\(\) failed for this model"):
        dataclasses.replace(doubled, strategy=Batched()).trace(make_inputs())
    scan = scan_of(tmp_path / "a", model=doubled)
    expected = scan_of(tmp_path / "b", model=lambda x: 2.0 * model(x))
    np.testing.assert_allclose(scan.column("trace"), expected.column("trace"), rtol=1e-5)


@pytest.mark.cuda
def test_batches_go_to_the_device_of_the_model(tmp_path):
    model = make_model()
    expected = PullbackMetric(model).log_spectrum(make_inputs())
    scan = pullback.scan(model.cuda(), make_batches(), out=tmp_path)
    np.testing.assert_allclose(scan.column("log_eigenvalues"), expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- kills

SCAN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_scan import *

torch.set_num_threads(1)
_, out, log, shard, kill_at = sys.argv
shard = eval(shard)
batches, fsync, synced = make_batches(), os.fsync, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def counted(metric, x):
    number = next(k for k, batch in enumerate(batches) if torch.equal(batch, x))
    if kill_at == f"batch {{number}}":
        die()
    with open(log, "a") as file:
        file.write(f"{{number}}\\n")
    return metric.trace(x)

def fsync_or_die(descriptor):
    synced.append(descriptor)
    if kill_at == f"write {{len(synced)}}":
        die()
    fsync(descriptor)

os.fsync = fsync_or_die
pullback.scan(
    make_model(), batches, quantities=QUANTITIES | {{"counted": counted}}, out=out, shard=shard
)
"""


def start_scan(folder, log, *, shard=None, kill_at=""):
    """Scan in a process of its own, which logs the batches that it computes."""
    code = log.with_suffix(".py")
    code.write_text(SCAN.format(tests=str(Path(__file__).parent)))
    return Script(code, log.parent, folder, log, repr(shard), kill_at)


def end_scan(script, log, *, is_killed=False):
    """Return the batches that a process has computed."""
    ended = script.end(limit=120)
    assert ended.returncode == (-signal.SIGKILL if is_killed else 0), ended.stderr
    numbers = [int(line) for line in log.read_text().split()]
    log.unlink()
    return numbers


def run_scan(folder, log, *, shard=None, kill_at=""):
    process = start_scan(folder, log, shard=shard, kill_at=kill_at)
    return end_scan(process, log, is_killed=bool(kill_at))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The scan that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    assert run_scan(folder, folder.with_name("log")) == list(range(NUM_BATCHES))
    return pullback.read_scan(folder)


def test_a_killed_scan_goes_on_where_it_was(tmp_path, whole):
    folder, log = tmp_path / "killed", tmp_path / "log"
    assert run_scan(folder, log, kill_at="batch 2") == [0, 1]
    assert _parts.existing_parts(folder) == [0, 1]
    # The second kill hits while the part of batch 3 is being written: 2 was written before.
    assert run_scan(folder, log, kill_at="write 2") == [2, 3]
    assert _parts.existing_parts(folder) == [0, 1, 2]
    assert len(list(folder.glob(".part-00000003.npz.*.partial"))) == 1
    assert pullback.read_scan(folder).missing == (3, 4, 5)
    assert run_scan(folder, log) == [3, 4, 5]
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"part-{k:08}.npz" for k in range(NUM_BATCHES)),
        "scan.json",
    ]
    assert_same_columns(pullback.read_scan(folder), whole)


def test_shards_of_one_folder(tmp_path, whole):
    """Both begin with an empty folder, at the same time; one is killed, and started again."""
    folder, logs = tmp_path / "shared", [tmp_path / "0", tmp_path / "1"]
    first = start_scan(folder, logs[0], shard=(0, 2))
    second = start_scan(folder, logs[1], shard=(1, 2), kill_at="batch 3")
    assert end_scan(second, logs[1], is_killed=True) == [1]
    assert end_scan(first, logs[0]) == [0, 2, 4]
    assert pullback.read_scan(folder).missing == (3, 5)
    assert run_scan(folder, logs[1], shard=(1, 2)) == [3, 5]
    assert_same_columns(pullback.read_scan(folder), whole)


# ---------------------------------------------------------------- merging


def scan_of(folder, *, model=None, batches=None, shard=None, chosen=QUANTITIES):
    model = model or make_model()
    return pullback.scan(
        model, batches or make_batches(), quantities=chosen, out=folder, shard=shard
    )


def test_folders_of_shards_are_merged(tmp_path):
    whole = scan_of(tmp_path / "whole")
    first, second, empty = (
        scan_of(tmp_path / str(i), shard=(i, n)) for i, n in ((0, 2), (1, 2), (8, 9))
    )
    assert first.missing == (1, 3, 5)
    assert empty.missing == tuple(range(NUM_BATCHES))
    merged = pullback.merge_scans([first.folder, second.folder, empty.folder], tmp_path / "new")
    assert_same_columns(merged, whole)
    assert_same_columns(pullback.merge_scans([second.folder], first.folder), whole)
    with pytest.raises(ValueError, match="folders must name at least one folder: it is empty"):
        pullback.merge_scans([], tmp_path / "new")


def test_scans_that_differ_are_not_merged(tmp_path):
    scan_of(tmp_path / "a", shard=(0, 2))
    scan_of(tmp_path / "b", model=make_model(seed=2), shard=(1, 2))
    with pytest.raises(ValueError, match=r"b holds a scan with other settings: weights was"):
        pullback.merge_scans([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    other = list(make_batches())
    other[3] = other[3] + 1.0
    scan_of(tmp_path / "d", batches=other)
    with pytest.raises(ValueError, match="results for the same inputs: batch 3 was another one"):
        pullback.merge_scans([tmp_path / "d", scan_of(tmp_path / "e").folder], tmp_path / "c")


# ---------------------------------------------------------------- what does not fit a folder


def test_another_scan_is_refused(tmp_path):
    model, batches = make_model(), list(make_batches())
    scan_of(tmp_path, shard=(0, 2))
    before = sorted(tmp_path.iterdir())
    turned = [batches[1], batches[0], *batches[2:]]
    retold = torch.nn.Sequential(model[0], torch.nn.ReLU(), model[2])
    for changes, message in (
        ({"model": make_model(seed=2)}, "weights was"),
        ({"model": retold}, "model was"),
        ({"model": PullbackMetric(model, temperature=2.0)}, "temperature was 1.0 and is now 2.0"),
        ({"batches": batches[:4]}, "batches was 6 and is now 4"),
        ({"batches": turned}, "inputs: first batch was"),
        (
            {"chosen": {"trace": PullbackMetric.trace}},
            "quantities were log_eigenvalues, trace, rank, direction and are now trace",
        ),
    ):
        with pytest.raises(ValueError, match=f"holds a scan with other settings: {message}"):
            scan_of(tmp_path, **changes)
    # What does not decide the numbers may change, and the batches that are there are compared.
    other = [*batches[:4], batches[4] + 1.0, batches[5]]
    with pytest.raises(ValueError, match=r"loader must yield the same batches .* batch 4 is not"):
        scan_of(tmp_path, batches=other, shard=(0, 2))
    assert sorted(tmp_path.iterdir()) == before
    finished = scan_of(tmp_path, model=PullbackMetric(model, chunk_size=1))
    assert finished.missing == ()


def test_functions_stand_for_the_models_they_use(tmp_path):
    model = make_model()

    def with_weights_of(model):
        return lambda x: model(x)

    scan_of(tmp_path, model=with_weights_of(model), shard=(0, 2))
    with pytest.raises(ValueError, match="model was"):
        scan_of(tmp_path, model=with_weights_of(make_model(seed=2)))
    assert scan_of(tmp_path, model=with_weights_of(make_model())).missing == ()


def test_a_damaged_part_is_found_and_computed_again(tmp_path):
    whole = scan_of(tmp_path)
    expected = columns_of(whole)
    path = _parts.part_path(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"part-00000002.npz is damaged: .* Delete it and run"):
        whole.column("trace")
    scan_of(tmp_path)
    for name, column in expected.items():
        np.testing.assert_array_equal(pullback.read_scan(tmp_path).column(name), column)


def test_parts_are_not_unpickled(tmp_path):
    scan = scan_of(tmp_path)
    np.savez(_parts.part_path(tmp_path, 0), trace=np.array([{}], dtype=object), _digest="")
    with pytest.raises(ValueError, match="is damaged: Object arrays cannot be loaded"):
        scan.column("trace")


def test_reading(tmp_path):
    scan = scan_of(tmp_path, shard=(0, 2))
    with pytest.raises(ValueError, match=r"3 of 6 batches are missing, the first is 1\. Run the"):
        scan.column("trace")
    with pytest.raises(KeyError, match="speed is not a quantity of this scan: log_eigenvalues, tr"):
        scan.column("speed")
    assert [number for number, _ in scan.parts()] == [0, 2, 4]
    (tmp_path / "scan.json").write_text("[]")
    with pytest.raises(ValueError, match=r"scan.json must be the manifest of a scan"):
        pullback.read_scan(tmp_path)


# ---------------------------------------------------------------- bad arguments


class Shorter:
    """A loader that promises more than it yields."""

    def __len__(self):
        return 9

    def __iter__(self):
        return iter(make_batches())


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(make_inputs())


DATA = torch.utils.data.TensorDataset(make_inputs())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"loader": make_inputs()}, TypeError, r"one array of inputs. Use x.split\(64\)"),
        ({"loader": iter(make_batches())}, TypeError, "loader must have a length: got"),
        (
            {"loader": torch.utils.data.DataLoader(Endless())},
            TypeError,
            "loader must have a length: got DataLoader",
        ),
        ({"loader": []}, ValueError, "loader must yield at least one batch"),
        ({"loader": [[]]}, TypeError, "loader must yield tensors.* batch 0 is a list"),
        ({"loader": [make_inputs().numpy()]}, TypeError, "batch 0 is a ndarray"),
        ({"loader": Shorter()}, ValueError, "as its length 9 says: batch 8 did not come"),
        (
            {"loader": torch.utils.data.DataLoader(DATA, shuffle=True)},
            ValueError,
            "in the same order each time: its sampler is a RandomSampler. Use shuffle=False",
        ),
        ({"shard": 1}, TypeError, r"shard must be two integers \(i, n\): got 1"),
        ({"shard": (2, 2)}, ValueError, r"i from 0 to n - 1: got \(2, 2\)"),
        ({"shard": (0, 1.5)}, TypeError, "shard must be two integers"),
        ({"quantities": ["trace"]}, TypeError, r"must map names .*: got list \['trace'\]"),
        ({"quantities": {"trace": 1}}, TypeError, "must map names to functions"),
        ({"quantities": {}}, ValueError, "have names of letters.*: there are none"),
        ({"quantities": {"a b": len}}, ValueError, "have names of letters.*: got 'a b'"),
        ({"quantities": {"_digest": len}}, ValueError, "have names of letters.*: got '_digest'"),
        (
            {"quantities": {"one": lambda metric, x: metric.trace(x)[:1]}},
            ValueError,
            r"quantities\['one'\] must return numbers for each input, shape \(3, ...\) here: it "
            r"returned float32 of shape \(1,\)",
        ),
        (
            {"quantities": {"spectrum": PullbackMetric.spectrum}},
            ValueError,
            "it returned <class 'infogeo.pullback.metric.Spectrum'>",
        ),
        ({"model": 3}, TypeError, "model must be a torch.nn.Module or a function: got int"),
        (
            {"loader": [make_inputs().double()]},
            TypeError,
            r"x must have the dtype .* \(x is batch 0 of the scan\)",
        ),
        (
            {"loader": [make_inputs() * float("nan")]},
            ValueError,
            r"x must .*\(x is batch 0 of the scan\)",
        ),
    ],
)
def test_bad_arguments(changes, error, message, tmp_path):
    arguments = {"model": make_model(), "loader": make_batches(), "quantities": QUANTITIES}
    arguments |= changes
    with pytest.raises(error, match=message):
        pullback.scan(**arguments, out=tmp_path / "out")
    left = tmp_path / "out"
    assert not left.exists() or isinstance(changes["loader"], Shorter)


def test_no_folder_at_out(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        scan_of(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_halves_are_kept_in_float32(tmp_path):
    scan = pullback.scan(
        make_model(),
        make_batches(),
        quantities={"trace": lambda metric, x: metric.trace(x).bfloat16()},
        out=tmp_path,
    )
    assert scan.column("trace").dtype == np.float32


def test_the_result_is_frozen(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        scan_of(tmp_path).missing = ()


class Shuffled(torch.utils.data.IterableDataset):
    def __len__(self):
        return len(DATA)

    def __iter__(self):
        return iter(DATA.tensors[0][torch.randperm(len(DATA))])


class Noisy(torch.utils.data.Dataset):
    def __len__(self):
        return len(DATA)

    def __getitem__(self, i):
        return DATA.tensors[0][i] + 0.01 * torch.rand(1)


class OwnSampler(torch.utils.data.Sampler):
    def __iter__(self):
        return iter(torch.randperm(len(DATA)).tolist())

    def __len__(self):
        return len(DATA)


def random_loaders():
    load, weights = torch.utils.data.DataLoader, torch.ones(len(DATA))
    samplers = torch.utils.data
    by_batch = samplers.BatchSampler(samplers.RandomSampler(DATA), 2, drop_last=False)
    weighted = samplers.WeightedRandomSampler(weights, len(DATA))
    return {
        "weighted": load(DATA, sampler=weighted),
        "subset": load(DATA, sampler=samplers.SubsetRandomSampler(range(len(DATA)))),
        "batches": load(DATA, batch_sampler=by_batch),
        "batches of samplers": load(DATA, sampler=by_batch, batch_size=None),
        "iterable": load(Shuffled(), batch_size=8),
        "own": load(DATA, sampler=OwnSampler()),
        "augmented": load(Noisy()),
    }


@pytest.mark.parametrize("name", random_loaders())
def test_loaders_of_another_order_each_time_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="yield the same batches in the same order each time"):
        pullback.scan(make_model(), random_loaders()[name], quantities=QUANTITIES, out=tmp_path)


def test_a_loader_of_a_fixed_order_of_its_own_is_taken(tmp_path):
    order = torch.randperm(len(DATA), generator=torch.Generator().manual_seed(0)).tolist()
    loader = torch.utils.data.DataLoader(DATA, sampler=order, batch_size=2)
    found = pullback.scan(make_model(), loader, quantities=QUANTITIES, out=tmp_path)
    assert not found.missing
