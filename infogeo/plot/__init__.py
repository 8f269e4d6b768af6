"""Figures of predictions and of what a network sees: functions that take ``ax=`` and return it.

Colours are safe for colour-blind readers. Without ``ax`` a figure is made with pyplot; with it,
no state outside that axes is touched.
"""

from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.plot") from None

from infogeo.plot.bands import drift_over_time, intervals
from infogeo.plot.changes import explained_change
from infogeo.plot.curves import balls, family, geodesics, level_sets, means
from infogeo.plot.drift import distances, distances_by_class
from infogeo.plot.families import densities, geodesic_polar
from infogeo.plot.inputs import sensitivity
from infogeo.plot.normals import geodesic_circle, half_plane, normal_ellipses
from infogeo.plot.pullback import ellipses, filmstrip, spectrum
from infogeo.plot.simplex import simplex, to_ternary

__all__ = [
    "balls",
    "densities",
    "distances",
    "distances_by_class",
    "drift_over_time",
    "ellipses",
    "explained_change",
    "family",
    "filmstrip",
    "geodesic_circle",
    "geodesic_polar",
    "geodesics",
    "half_plane",
    "intervals",
    "level_sets",
    "means",
    "normal_ellipses",
    "sensitivity",
    "simplex",
    "spectrum",
    "to_ternary",
]


finish(globals())
