"""``python -m benchmarks.baselines.scan FOLDER``: the least that a look at every file costs."""

from __future__ import annotations

import os
import sys

__all__ = ["scan"]


def scan(folder: str) -> int:
    """List a tree and ask for the status of each file; how many there are."""
    count, folders = 0, [folder]
    while folders:
        with os.scandir(folders.pop()) as listing:
            for entry in listing:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


if __name__ == "__main__":
    print(scan(sys.argv[1]))
