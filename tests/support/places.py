"""Where the checkout under test lies."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PYTHONPATH", "REPOSITORY", "SHARED_SETS"]

REPOSITORY = Path(__file__).parent.parent.parent
SHARED_SETS = REPOSITORY.parent / "shared" / "sets"
PYTHONPATH = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / ".package")])
"""For children: the tests, and this checkout's own program, whichever is installed."""
