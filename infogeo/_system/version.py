"""The version of infogeo, in a place that every part may import from."""

__version__ = "0.1.0.dev0"
