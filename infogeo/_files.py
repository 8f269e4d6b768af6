"""Files that are written whole or not at all."""

import contextlib
import uuid


@contextlib.contextmanager
def replacing(path):
    """Give the name of a file beside `path` that takes its place once it is whole."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
