"""What a new user wants to do first, and the page or the test that does it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infogeo import neighbors, simplex
from infogeo.interop import frames
from infogeo.mean import frechet_mean

ROOT = Path(__file__).parent.parent.parent
STORIES = {  # story: (file that runs, what it does there)
    "two model versions in CI": ("examples/predictions/plot_drift_in_ci.py", "--fail-above"),
    "histogram drift with uncertainty": ("docs/is_it_drift.md", "--counts"),
    "counts by the week": ("examples/predictions/plot_counts_over_time.py", "drift_over_time"),
    "nearest of 100,000": ("docs/scale.md", "neighbors.nearest"),
    "k-means of topics": ("docs/topics.md", "FisherRaoKMeans"),
    "word interpolation": ("docs/topics.md", "fisher_rao_geodesic"),
    "normals from samples": ("docs/normals_from_samples.md", "MultivariateNormal.fit"),
    "raking": ("examples/maximum_entropy/raking.py", "balance"),
    "label shift": ("examples/maximum_entropy/plot_label_shift.py", "estimate_frequencies"),
    "a CNN of one's own": ("tests/pullback/test_metric.py", "Conv2d"),
    "certify": ("examples/networks/plot_certify_a_network.py", "certify --model"),
    "calibrate": ("docs/pullback.md", "## Calibrate first"),
    "t-SNE": ("tests/project/test_stories.py", "def test_t_sne"),
    "groupby": ("tests/project/test_stories.py", "def test_groups_of_a_frame"),
    "Lightning": ("tests/interop/test_torch.py", "Lightning"),
    "jax": ("tests/test_simplex.py", "jax"),
    "dask": ("tests/test_dask.py", "dask"),
    "half-plane figure": ("examples/distributions/plot_literature.py", "half_plane"),
    "GPU": ("tests/test_neighbors.py", "cuda"),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_story_has_its_place(story):
    name, words = STORIES[story]
    assert words in (ROOT / name).read_text(), f"{name} no longer tells it"


def test_t_sne(rng):
    """Distances go to scikit-learn's estimators as they are."""
    manifold = pytest.importorskip("sklearn.manifold")
    centers = np.array([[8.0, 1.0, 1.0, 1.0], [1.0, 8.0, 1.0, 1.0], [1.0, 1.0, 5.0, 5.0]])
    groups = np.repeat(np.arange(3), 25)
    p = np.array([rng.dirichlet(4.0 * centers[group]) for group in groups])
    embedding = manifold.TSNE(
        metric="precomputed", init="random", perplexity=10.0, max_iter=400, random_state=0
    )
    placed = embedding.fit_transform(neighbors.pairwise_distance(p))
    apart = np.linalg.norm(placed[:, None] - placed, axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (groups[apart.argmin(axis=1)] == groups).mean() > 0.9


def test_groups_of_a_frame(rng):
    """The mean prediction of each site, and how far the sites are apart, with their names."""
    classes = ["cat", "dog", "eel"]
    frame = pd.DataFrame(rng.dirichlet(np.ones(3), 60), columns=classes)
    sites = frame.assign(site=np.repeat(["Oslo", "Rome", "Bern"], 20)).groupby("site")
    means = sites[classes].apply(
        lambda group: pd.Series(frechet_mean(group.to_numpy()).point, index=classes)
    )
    apart = frames.pairwise_distance(means)
    assert list(apart.index) == list(apart.columns) == ["Bern", "Oslo", "Rome"]
    oslo, bern = frame.to_numpy()[:20], frame.to_numpy()[40:]
    first, second = (frechet_mean(part).point for part in (oslo, bern))
    expected = simplex.fisher_rao_distance(first, second)
    assert apart.loc["Oslo", "Bern"] == pytest.approx(expected, rel=1e-9)
