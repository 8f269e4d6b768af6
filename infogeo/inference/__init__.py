"""Inference on distances between distributions that were only estimated, from samples."""

from infogeo._docs import finish
from infogeo.inference._diagonal import diagonal_interval
from infogeo.inference._interval import Interval, interval
from infogeo.inference._predictions import PredictionTest, prediction_test
from infogeo.inference._resampling import (
    Bootstrap,
    DistanceTable,
    Jackknife,
    MeanEstimate,
    bootstrap,
    distance_standard_errors,
    jackknife,
    mean_standard_error,
)
from infogeo.inference._tests import (
    KSampleTest,
    Test,
    goodness_of_fit,
    homogeneity_test,
    k_sample_test,
)

__all__ = [
    "Bootstrap",
    "DistanceTable",
    "Interval",
    "Jackknife",
    "KSampleTest",
    "MeanEstimate",
    "PredictionTest",
    "Test",
    "bootstrap",
    "diagonal_interval",
    "distance_standard_errors",
    "goodness_of_fit",
    "homogeneity_test",
    "interval",
    "jackknife",
    "k_sample_test",
    "mean_standard_error",
    "prediction_test",
]

finish(
    globals(),
    {
        "num_draws : int": "Draws of the simulation: the smallest p-value is 1 / (num_draws + 1).",
        "value : array, shape (...)": "The statistic of the samples.",
        "*samples : array, shape (n, ...), series or data frame": (
            "Independent samples, one row for each observation; their numbers may differ. The\n"
            "statistic gets rows of what is given: of a frame a frame, of labels labels, of\n"
            "integers integers."
        ),
        "seed : int": "Of the random draws; the same seed gives the same p-value.",
    },
)
