"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version

from benchmarks.children import cores

__all__ = ["host", "machine", "versions"]

_PACKAGES = {
    **{name: name for name in ("parecido", "numpy", "openvino", "keras", "tensorflow", "pillow")},
    "faiss": "faiss-cpu",
}


def host() -> str:
    """The machine's name, as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", platform.node()).strip("-.") or "unnamed"


def machine() -> dict[str, object]:
    """Processor, cores that may be used, memory in bytes, system."""
    return {
        "cpu": _processor(),
        "cores": cores(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide how fast things are; none is imported."""
    found = {"python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next(line for line in file if line.startswith("model name"))
        return line.partition(":")[2].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
