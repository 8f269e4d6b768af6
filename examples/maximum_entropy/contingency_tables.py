"""Contingency tables with known margins: a log-linear model, and a survey moved to known shares
=============================================================================================

The table counts 944 respondents of the American election study of 1996 (bundled with statsmodels)
by education, party and vote.
"""

import itertools

import numpy as np
import pandas as pd
import scipy.stats
import statsmodels.api as sm
import statsmodels.formula.api as smf
from matplotlib import pyplot as plt

from infogeo import SolveError
from infogeo.maxent import fit_margins

EDUCATION = ["school", "some college", "degree"]
PARTY = ["Democrat", "Independent", "Republican"]
VOTE = ["Clinton", "Dole"]
# Of the votes for one of the two: 47.4 and 39.2 million.
RESULT = np.array([0.547, 0.453])


def survey():
    """Return the counts, shape (3, 3, 2)."""
    data = sm.datasets.anes96.load_pandas().data
    education = np.digitize(data["educ"], [4, 5])  # 1 to 3: school, 4: some college
    party = np.digitize(data["PID"], [2, 5])  # 0 to 6, from strong Democrat to strong Republican
    counts = np.zeros((3, 3, 2))
    np.add.at(counts, (education, party, data["vote"].astype(int)), 1.0)
    return counts


def main():
    """Fit both tables and print what they say."""
    counts = survey()
    n = counts.sum()

    print("Does education matter for the vote beyond party, differently in each party?")
    pairs = {axes: counts.sum(axis=3 - sum(axes)) for axes in itertools.combinations(range(3), 2)}
    found = fit_margins(np.ones(counts.shape), pairs)
    fitted = n * found.probabilities.reshape(counts.shape)
    deviance = 2.0 * (counts * np.log(counts / fitted)).sum()
    freedom = counts.size - 1 - found.rank
    print(f"  the table with the margins of all pairs: deviance {deviance:.4f} on {freedom} "
          f"degrees of freedom, p = {scipy.stats.chi2.sf(deviance, freedom):.2f}")  # fmt: skip
    cells = pd.DataFrame(np.argwhere(counts > -1), columns=["e", "p", "v"])
    cells["count"] = counts.ravel()
    model = smf.glm("count ~ (C(e) + C(p) + C(v)) ** 2", cells, family=sm.families.Poisson()).fit()
    print(f"  Poisson regression of statsmodels: deviance {model.deviance:.4f}, counts apart by "
          f"{np.abs(model.fittedvalues - fitted.ravel()).max():.0e}")  # fmt: skip

    print("\nThe survey at the result of the election, its other interactions kept:")
    moved = fit_margins(counts, {2: RESULT}).probabilities.reshape(counts.shape)
    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for k, (name, table) in enumerate({"survey": counts / n, "moved": moved}.items()):
        share = table[..., 0].sum(axis=0) / table.sum(axis=(0, 2))
        shares = ", ".join(f"{party} {x:.3f}" for party, x in zip(PARTY, share, strict=True))
        print(f"  {name:6}: {VOTE[0]} has {table[..., 0].sum():.3f}; of each party: {shares}")
        color = ("#d55e00", "#0072b2")[k]
        ax.bar(np.arange(3) + 0.35 * k, share, width=0.33, color=color, label=name)
    ax.set(xticks=np.arange(3) + 0.175, xticklabels=PARTY, ylabel=f"share of {VOTE[0]}")
    ax.legend(frameon=False)
    figure.savefig("contingency_tables.png", dpi=110)

    print("\nMargins that no table has:")
    one_party = counts * (np.arange(3) == 0)[:, None]  # only Democrats answered
    try:
        fit_margins(one_party, {(1,): [0.4, 0.3, 0.3], (2,): RESULT})
    except SolveError as error:
        print(f"  {error}")


if __name__ == "__main__":
    main()
