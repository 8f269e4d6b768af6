"""``python -m infogeo`` is the `infogeo` command."""

import sys

from infogeo.cli import main

if __name__ == "__main__":
    sys.exit(main())
