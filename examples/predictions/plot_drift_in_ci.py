"""Two versions of a model in CI: how far did the predictions move?
================================================================

A new version of a model may keep its accuracy and still answer many inputs differently. This page
compares two versions on the same inputs, the way a check in CI does.
"""

# %%
# Two versions
# ------------
# The second version of this classifier of handwritten digits is trained with less regularisation.
# Both write the probabilities of the ten classes for the same held-out images.
import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from infogeo import cli

folder = Path(tempfile.mkdtemp())
x, y = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(x / 16.0, y, test_size=0.5, random_state=0)
for name, strength in {"old": 0.1, "new": 1.0}.items():
    model = LogisticRegression(C=strength, max_iter=2000).fit(train_x, train_y)
    frame = pd.DataFrame(model.predict_proba(test_x), columns=[f"is_{k}" for k in range(10)])
    frame.insert(0, "image", [f"digit-{i}" for i in range(len(test_x))])
    frame.assign(truth=[f"is_{k}" for k in test_y]).to_csv(folder / f"{name}.csv", index=False)
    print(f"{name}: {model.score(test_x, test_y):.1%} right")

# %%
# The comparison
# --------------
# On a command line this is ``infogeo compare old.csv new.csv --id image --label-column truth``. The
# distances are Fisher-Rao distances, in radians: 0 for equal predictions, pi for predictions
# without a common class. The figures have standard errors, and the rows that moved most are listed.
files = [str(folder / name) for name in ("old.csv", "new.csv")]
columns = ["--id", "image", "--label-column", "truth", "--ignore", "truth"]
status = cli.main(["compare", *files, *columns, "-o", str(folder / "drift")])

# %%
# The check
# ---------
# ``--fail-above`` and ``--quantile`` make it a check: here 99 % of the predictions may move by 0.8
# radians and no further, and 2 % of the decisions may change. The exit status of the command, which
# CI looks at, is 1 if a limit is passed.
limits = ["--fail-above", "0.8", "--quantile", "0.99", "--fail-changed-above", "0.02"]
with contextlib.redirect_stdout(io.StringIO()) as said:
    status = cli.main(["compare", *files, *columns, *limits])
print(*said.getvalue().splitlines()[-2:], f"exit status {status}", sep="\n")

# %%
# The figure that ``-o drift`` has written: the distances of all images, and those by true class.
shutil.move(folder / "drift" / "drift.png", "drift_in_ci.png")
