"""What the machine, or the container, lets this process have."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["memory"]

_UNKNOWN = 8 << 30
# where the limits of groups of processes lie, by the controller's name in /proc/self/cgroup
_LIMITS = {"memory": ("memory", "memory.limit_in_bytes"), "": ("", "memory.max")}


@cache
def memory() -> int:
    """Memory in bytes: the machine's, or less where this process's group may have less of it.

    8 GB where the system does not say.
    """
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        physical = _UNKNOWN
    return min([physical, *_group_limits(Path("/"))])


def _group_limits(root: Path) -> list[int]:
    """Limits on the groups that this process is in, and on those that these lie in.

    In a container the group's name may be the one outside it, and the limit lies at the top.
    """
    found = []
    with suppress(OSError, ValueError):
        lines = os.fsdecode((root / "proc/self/cgroup").read_bytes()).split("\n")
        for line in filter(None, lines):
            _, controllers, group = line.split(":", 2)
            for folder, name in [_LIMITS[c] for c in controllers.split(",") if c in _LIMITS]:
                top = root / "sys/fs/cgroup" / folder
                own = top / group.lstrip("/")
                for place in (own, *own.parents):
                    with suppress(OSError, ValueError):  # "max" is no number
                        found.append(int((place / name).read_text("ascii")))
                    if place == top:
                        break
    return [limit for limit in found if limit > 0]
