"""Tables of predictions in files, read in blocks of rows.

A table is given by its file; its rows are distributions or logits, its columns classes. Nothing
is unpickled, and of files larger than memory only a block is held at a time.

- ``_file`` finds the file, its format and its bytes, ``_selection`` what its columns hold.
- ``_text``, ``_json_lines``, ``_arrow`` and ``_npy`` read the formats.
- ``_table`` gives the blocks, ``_rows`` puts those of two tables row beside row, ``_labels`` reads
  a column of labels, ``_checks`` says what is wrong with the numbers.
"""

from infogeo._docs import finish
from infogeo.cli._tables._checks import checked, normalized, warn_of_probabilities
from infogeo.cli._tables._labels import MISSING, are_numbers, as_classes, read_labels
from infogeo.cli._tables._rows import JoinedRows, alike, paired_blocks
from infogeo.cli._tables._table import Block, Table

__all__ = [
    "MISSING",
    "Block",
    "JoinedRows",
    "Table",
    "alike",
    "are_numbers",
    "as_classes",
    "checked",
    "normalized",
    "paired_blocks",
    "read_labels",
    "warn_of_probabilities",
]

finish(globals())
