"""``python -m benchmarks.collections``: write collections, or say where they are."""

import sys

from benchmarks.collections.writing import main

if __name__ == "__main__":
    sys.exit(main())
