"""How often drift tools raise an alarm where nothing has changed, each at its defaults.

Reference and current rows are drawn from one and the same uniform distribution, so that every alarm
is a false one. The tools need versions of numpy and pandas that exclude each other, so each runs in
a process of its own, with a folder of its own where one is given:

    pip install --target peers/evidently evidently==0.7.23 'pandas<3'
    pip install --target peers/nannyml nannyml==0.13.1 'statsmodels<0.15'
    pip install --target peers/alibi-detect alibi-detect==0.13.0
    python benchmarks/drift_tools.py evidently=peers/evidently nannyml=peers/nannyml \
        alibi-detect=peers/alibi-detect

A tool that cannot be imported is named and left out.
"""

import json
import os
import subprocess
import sys
import warnings
from importlib.metadata import version

import numpy as np

CELLS = [(c, n) for c in (2, 10, 50) for n in (200, 1000, 5000)]
NUM_PAIRS = 200


def pairs(num_outcomes, num_rows):
    """Return labels of NUM_PAIRS references and of as many current samples, one in each row."""
    rng = np.random.default_rng([num_outcomes, num_rows])
    return rng.integers(0, num_outcomes, (2, NUM_PAIRS, num_rows))


def frames(labels):
    """Return a reference and a current frame with a column for each pair."""
    import pandas as pd

    names = [f"x{i}" for i in range(NUM_PAIRS)]
    return [pd.DataFrame(x.T.astype(str), columns=names) for x in labels]


def evidently(labels):
    """Return the share of alarms, and the rule that decides."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    reference, current = frames(labels)
    columns = list(reference.columns)
    kinds = DataDefinition(categorical_columns=columns)
    old, new = (Dataset.from_pandas(x, data_definition=kinds) for x in (reference, current))
    found = Report([ValueDrift(column=name) for name in columns]).run(new, old).dict()["metrics"]
    rule, limit = found[0]["config"]["method"], found[0]["config"]["threshold"]
    values = np.array([metric["value"] for metric in found], dtype=float)
    is_p_value = rule.endswith("p_value")
    alarms = values < limit if is_p_value else values >= limit
    return alarms.mean(), f"{rule} {'<' if is_p_value else '>='} {limit:g}"


def nannyml(labels):
    """Return the share of chunks with an alarm, and the rule that decides."""
    from nannyml import UnivariateDriftCalculator

    reference, current = frames(labels)
    names = list(reference.columns)
    calculator = UnivariateDriftCalculator(column_names=names, treat_as_categorical=names)
    found = calculator.fit(reference).calculate(current).filter(period="analysis").to_df()
    (method,) = {key[1] for key in found.columns if key[0] in names}
    alarms = np.array([found[name, method, "alert"] for name in names], dtype=bool)
    threshold = type(calculator.thresholds[method]).__name__
    return alarms.mean(), f"{method}, {threshold}, in each of {alarms.shape[1]} chunks"


def alibi_detect(labels):
    """Return the share of alarms, and the rule that decides."""
    from alibi_detect.cd import ChiSquareDrift

    found = [
        ChiSquareDrift(old[:, None]).predict(new[:, None])["data"]
        for old, new in zip(*labels, strict=True)
    ]
    alarms = np.array([data["is_drift"] for data in found], dtype=bool)
    return alarms.mean(), f"chi-square p < {found[0]['threshold']:g}"


def counted(labels):
    """Return how often each outcome is in each row."""
    num_outcomes = labels.max() + 1
    return (labels[..., None, :] == np.arange(num_outcomes)[:, None]).sum(-1)


def infogeo_test(labels):
    """Return the share of alarms, and the rule that decides."""
    from infogeo.inference import homogeneity_test

    p_values = homogeneity_test(*map(counted, labels), num_draws=999).p_value
    return (p_values < 0.05).mean(), "homogeneity_test p < 0.05"


def infogeo_interval(labels):
    """Return the share of alarms, and the rule that decides."""
    from infogeo.inference import interval

    found = interval(*map(counted, labels))
    return (found.lower > 0.0).mean(), "interval does not hold 0"


TOOLS = {
    "evidently": [evidently],
    "nannyml": [nannyml],
    "alibi-detect": [alibi_detect],
    "infogeo": [infogeo_test, infogeo_interval],
}


def measure(tool):
    """Print what a tool says of every cell, as json."""
    warnings.simplefilter("ignore")
    rows = []
    for function in TOOLS[tool]:
        cells = [function(pairs(*cell)) for cell in CELLS]
        rules = list(dict.fromkeys(rule for _, rule in cells))
        rows.append({"rules": rules, "shares": [float(share) for share, _ in cells]})
    print(json.dumps({"version": version(tool), "rows": rows}))


def main(arguments):
    folders = dict(argument.split("=", 1) for argument in arguments)
    head = [f"{c}, {n}" for c, n in CELLS]
    print(f"| tool | alarm if | {' | '.join(head)} |")
    print("|" + "---|" * (2 + len(head)))
    for tool in TOOLS:
        path = [folders[tool]] if tool in folders else []
        path += filter(None, [os.environ.get("PYTHONPATH")])
        run = subprocess.run(
            [sys.executable, __file__, "--measure", tool],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            capture_output=True,
            text=True,
        )
        if run.returncode:
            last = (run.stderr.strip().splitlines() or ["no word"])[-1]
            print(f"{tool} is left out: {last}", file=sys.stderr)
            continue
        found = json.loads(run.stdout.strip().splitlines()[-1])
        for row in found["rows"]:
            cells = " | ".join(f"{100.0 * share:.0f} %" for share in row["shares"])
            print(f"| {tool} {found['version']} | {'; '.join(row['rules'])} | {cells} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        main(sys.argv[1:])
