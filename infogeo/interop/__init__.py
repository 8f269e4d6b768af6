"""Bridges to other libraries, one module each; each needs that library and nothing else does."""
