"""The version of infogeo, in a place that every part may import from."""

__version__ = "0.2.0"
