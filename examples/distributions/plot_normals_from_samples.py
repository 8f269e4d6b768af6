"""Normals from samples: how far apart are two fits of one distribution?
=====================================================================

Two samples of one normal distribution give two different fits, and the distance between these is
never 0. It grows with the number of features, and an interval has to know that.
"""

# %%
# The distance of two fits of the same
# ------------------------------------
# For each number of features 200 pairs of samples are drawn, both from one distribution, and
# fitted. The true distance is 0 throughout.
import numpy as np
from matplotlib import pyplot as plt

from infogeo import multivariate_normal
from infogeo.inference import interval
from infogeo.multivariate_normal import MultivariateNormal

rng = np.random.default_rng(0)
num_samples, dimensions = 60, [1, 2, 3, 5, 8]
plug_in = {}
for d in dimensions:
    samples = rng.normal(size=(2, 200, num_samples, d))
    means = samples.mean(axis=2)
    left = samples - means[:, :, None]
    covs = left.mT @ left / num_samples
    fits = [MultivariateNormal(*fit) for fit in zip(means, covs, strict=True)]
    plug_in[d] = multivariate_normal.fisher_rao_distance(*fits)
    # To first order N d^2 is chi-square with d (d + 3) / 2 degrees of freedom, N = n m / (n + m).
    expected = np.sqrt(d * (d + 3) / 2 / (num_samples / 2))
    print(
        f"{d} features: the middle half of the distances is "
        f"{np.quantile(plug_in[d], 0.25):.3f} to {np.quantile(plug_in[d], 0.75):.3f} rad, "
        f"the first order says {expected:.3f}"
    )

# %%
# Intervals
# ---------
# The first two fits are of one distribution. The third sample is shifted by half a standard
# deviation in each feature.
d = 3
fits = [MultivariateNormal.fit(shift + rng.normal(size=(num_samples, d))) for shift in (0, 0, 0.5)]
for name, other in (("the same", fits[1]), ("shifted", fits[2])):
    print(f"{name}: {interval(fits[0], other)}")
shift = MultivariateNormal(np.full(d, 0.5), np.eye(d))
truth = multivariate_normal.fisher_rao_distance(MultivariateNormal(np.zeros(d), np.eye(d)), shift)
print(f"the true distance of the shifted one: {truth:.4f} rad")

# %%
# The distances between fits of equal distributions, by the number of features.
figure, ax = plt.subplots(figsize=(7.0, 4.2), layout="constrained")
ax.boxplot(plug_in.values(), tick_labels=list(map(str, dimensions)), showfliers=False)
sizes = np.sqrt([d * (d + 3) / num_samples for d in dimensions])
ax.plot(range(1, 6), sizes, "o--", color="#d55e00", label=r"$\sqrt{k / N}$, $k$ parameters")
ax.set(xlabel="features", ylabel="distance of two fits (rad)", ylim=(0.0, None))
ax.legend(frameon=False)
figure.savefig("normals_from_samples.png", dpi=110)
