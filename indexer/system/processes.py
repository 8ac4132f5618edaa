"""Which processes of which running system: what tells one holder of a library from another."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["is_gone", "processes_here", "started_at", "system_here"]

_PROC = Path("/proc")


@cache
def system_here() -> str:
    """The running system: another machine has another, and so has this one once it is restarted.

    Containers of one machine have the same, and the same locks.  Their host names tell nothing:
    those of two machines may be the same, and those of two containers need not be.
    """
    with suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    with suppress(OSError, AttributeError, ValueError):
        if sys.platform == "darwin":
            return _ask_macos()
    import uuid

    return f"{uuid.getnode():012x}"  # of its network card


def _ask_macos() -> str:
    import ctypes

    told, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    if ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", told, ctypes.byref(size), None, 0):
        raise OSError("kern.bootsessionuuid cannot be read")
    return told.value.decode("ascii")


def processes_here() -> str:
    """Among which processes a number names one: Linux's PID namespace, empty elsewhere."""
    with suppress(OSError, AttributeError):
        return os.readlink(_PROC / "self/ns/pid")
    return ""


def started_at(pid: int) -> str:
    """When a process started, in ticks since the system did: numbers are given again.

    Empty where that cannot be told.
    """
    with suppress(OSError, IndexError):
        # behind the name, which may hold anything
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    return ""


def is_gone(pid: int, started: str) -> bool:
    """Whether it is certain that a process of this system has ended, also if not collected yet."""
    if os.name != "posix" or not started or pid <= 0:
        return False  # on Windows this signal would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # another user's, which may be hidden
    if not (_PROC / str(pid)).exists():
        return False
    return started_at(pid) != started
