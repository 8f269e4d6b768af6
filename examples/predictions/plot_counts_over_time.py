"""Counts of classes, week by week: drift, or chance?
==================================================

Two samples of one distribution never have equal shares. A distance between them says little as long
as nothing says how large it would be by chance. This page watches the answers of a service over
twelve weeks.
"""

# %%
# The counts
# ----------
# A reference of 4,000 answers in five classes, and weeks of different sizes. From week 7 on a
# little of the first class goes over to the last one.
import numpy as np
from matplotlib import pyplot as plt

from infogeo import plot, simplex
from infogeo.inference import homogeneity_test, interval

rng = np.random.default_rng(0)
usual = np.array([0.42, 0.28, 0.15, 0.1, 0.05])
moved = usual + np.array([-0.06, 0.0, 0.0, 0.0, 0.06])
sizes = [300, 280, 350, 60, 320, 310, 300, 330, 290, 45, 310, 340]
reference = rng.multinomial(4000, usual)
weeks = np.array(
    [rng.multinomial(n, usual if week < 7 else moved) for week, n in enumerate(sizes, start=1)]
)
print(f"the true distance from week 7 on: {simplex.fisher_rao_distance(usual, moved):.3f} rad")

# %%
# Distances without and with uncertainty
# --------------------------------------
# Before the change the plug-in distance, between the observed shares, is largest in week 4, a week
# of few answers. Intervals say so: that of week 4 begins at 0, and is wide.
found = interval(weeks, reference)
shares = weeks / weeks.sum(axis=1, keepdims=True)
plug_in = simplex.fisher_rao_distance(shares, reference / reference.sum())
p_values = homogeneity_test(weeks, reference, num_draws=999).p_value
print("week  rows  plug-in  interval          p")
for week, n in enumerate(sizes, start=1):
    i = week - 1
    print(
        f"{week:4}  {n:4}  {plug_in[i]:7.3f}  {found.lower[i]:.3f} to {found.upper[i]:.3f}  "
        f"{p_values[i]:.3f}"
    )

# %%
# A tolerance
# -----------
# Drift is what matters, and no test knows what that is. With a tolerance of 0.15 rad there are
# three answers: below it, above it, and not enough data. (`How large is 0.1 rad?
# <../../how_large.html>`_)
ax = plot.drift_over_time(found, tolerance=0.15)
ax.set_xlabel("week, from 0")
plt.gcf().savefig("counts_over_time.png", dpi=110, bbox_inches="tight")
