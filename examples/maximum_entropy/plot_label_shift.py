"""Label shift: the classes come at other frequencies than in training
===================================================================

A model was trained where every class is about as frequent as the others. It is used where they are
not, and nobody has labels there. How frequent are the classes, and what are the predictions then?
"""

# %%
# A shift
# -------
# A classifier of handwritten digits meets data in which the digits up to 4 are rare.
import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from infogeo import simplex
from infogeo.maxent import estimate_frequencies, match_frequencies

x, y = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
x = x + rng.normal(scale=5.0, size=x.shape)  # so that there is something to correct
train_x, rest_x, train_y, rest_y = train_test_split(x, y, test_size=0.6, random_state=0)
keep = rng.random(len(rest_y)) < np.where(rest_y < 5, 0.15, 1.0)
new_x, new_y = rest_x[keep], rest_y[keep]
prior = np.bincount(train_y, minlength=10) / len(train_y)
model = LogisticRegression(C=1e-3, max_iter=500).fit(train_x, train_y)
p = model.predict_proba(new_x)
truth = np.bincount(new_y, minlength=10) / len(new_y)

# %%
# The frequencies, without a label
# --------------------------------
# `estimate_frequencies` maximises the likelihood of the predictions, and proves how near to the
# maximum it is. It takes the model as calibrated for the frequencies of its training data. (For one
# that is not, a confusion matrix of held-out data says which classes it takes for which:
# ``confusion=``.)
found = estimate_frequencies(p, training_frequencies=prior)
estimates = {"mean prediction": p.mean(axis=0), "estimated": found.frequencies}
for name, f in estimates.items():
    print(f"{name:15} is {simplex.fisher_rao_distance(f, truth):.3f} rad from the truth")
print(f"no frequency is off the maximum by more than {found.error_bound:.0e}")

# %%
# The predictions
# ---------------
# `match_frequencies` gives the predictions nearest to the old ones, in the sense of the
# Kullback-Leibler divergence, that have these frequencies on average.
matched = match_frequencies(p, found.frequencies).probabilities
for name, q in {"before": p, "after": matched}.items():
    accuracy = (q.argmax(axis=1) == new_y).mean()
    loss = -np.log(q[np.arange(len(new_y)), new_y]).mean()
    print(f"{name:6} {accuracy:.1%} right, {loss:.3f} nats for each label")

# %%
# The true frequencies, beside both estimates with their standard errors.
figure, ax = plt.subplots(figsize=(7.6, 4.0), layout="constrained")
at = np.arange(10)
ax.bar(at - 0.27, p.mean(axis=0), width=0.25, color="#d55e00", label="mean prediction")
ax.bar(
    at, found.frequencies, width=0.25, color="#0072b2", label="estimated",
    yerr=found.standard_errors, capsize=2,
)  # fmt: skip
ax.bar(at + 0.27, truth, width=0.25, color="#009e73", label="true")
ax.set(xlabel="digit", ylabel="share", xticks=at)
ax.legend(frameon=False)
figure.savefig("label_shift.png", dpi=110)
