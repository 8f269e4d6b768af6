"""Inference on distances between distributions that were only estimated, from samples."""

from infogeo._docs import finish
from infogeo.inference._interval import Interval, interval
from infogeo.inference._tests import (
    KSampleTest,
    Test,
    goodness_of_fit,
    homogeneity_test,
    k_sample_test,
)

__all__ = [
    "Interval",
    "KSampleTest",
    "Test",
    "goodness_of_fit",
    "homogeneity_test",
    "interval",
    "k_sample_test",
]

finish(globals())
