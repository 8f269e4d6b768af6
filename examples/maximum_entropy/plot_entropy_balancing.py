"""Entropy balancing: a control group that resembles the treated one
=================================================================

Spector and Mazzeo (1980; bundled with statsmodels) taught economics to 14 students by a new method
and to 18 by the usual one. The groups differ in their earlier grades and in a test beforehand.
"""

import numpy as np
import statsmodels.api as sm
from matplotlib.figure import Figure

from infogeo import SolveError
from infogeo.maxent import balance

COVARIATES = ["GPA", "TUCE"]


def main():
    """Balance the control group, print what changes and draw the weights."""
    data = sm.datasets.spector.load_pandas().data
    treated, control = data[data["PSI"] == 1.0], data[data["PSI"] == 0.0]
    found = balance(control[COVARIATES], treated[COVARIATES].mean())
    print("Means of the control group; the targets are those of the treated")
    print(found.diagnostics)

    improved = treated["GRADE"].mean()
    plain, weighted = control["GRADE"].mean(), control["GRADE"] @ found.weights
    print(f"\nstudents who improved: {improved:.3f} of the treated, {plain:.3f} of the control "
          f"group, {weighted:.3f} with its weights")  # fmt: skip
    print(f"difference: {improved - plain:.3f} as it is, {improved - weighted:.3f} balanced")

    print("\nSquares as well, and a mean that cannot be had beside the others:")
    wider = control[COVARIATES].assign(square=control["GPA"] ** 2)
    targets = treated[COVARIATES].mean()
    try:
        balance(wider, targets.to_dict() | {"square": 9.0})
    except SolveError as error:
        print(error)
    draw(treated, control, found.weights)
    print("\ndrawn: entropy_balancing.png")


def draw(treated, control, weights):
    """Draw both groups, the control group with areas in proportion to its weights."""
    drawing = Figure(figsize=(7.5, 4.0), layout="constrained")
    ax = drawing.subplots()
    area = 60.0 * len(control) * weights
    ax.scatter(control["GPA"], control["TUCE"], area, color="#0072B2", alpha=0.6,
               label="control, area: weight")  # fmt: skip
    ax.scatter(treated["GPA"], treated["TUCE"], 40.0, color="#D55E00", marker="x", label="treated")
    means = {
        "mean of the control group": (control[COVARIATES].mean(), "#0072B2", "s", 60.0),
        "its weighted mean": (np.array(weights @ control[COVARIATES]), "#0072B2", "*", 220.0),
        "mean of the treated": (treated[COVARIATES].mean(), "#D55E00", "D", 40.0),
    }
    for name, (mean, colour, marker, size) in means.items():
        x, y = mean
        ax.scatter(x, y, size, color=colour, marker=marker, edgecolors="black", label=name)
    ax.set(xlabel="grade point average", ylabel="test beforehand, points")
    drawing.legend(loc="outside right upper", fontsize="small")
    drawing.savefig("entropy_balancing.png", dpi=150)


if __name__ == "__main__":
    main()
