"""How much memory there is, with and without a limit on this process's group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parecido.indexer.system.memory import _group_limits, memory


def system(root: Path, group: str, limits: dict[str, str]) -> Path:
    """A root as Linux shows it: the groups that a process is in, and files with limits on them."""
    files = {"proc/self/cgroup": group} | {f"sys/fs/cgroup/{name}": limits[name] for name in limits}
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


def test_a_limit_on_the_group_counts_where_it_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limits, expected in (([1 << 30, 5000], 5000), ([1 << 62], whole), ([], whole)):
        monkeypatch.setattr(
            "parecido.indexer.system.memory._group_limits", lambda _, found=limits: found
        )
        assert memory.__wrapped__() == expected


def test_there_is_no_more_memory_than_the_machine_has() -> None:
    assert 0 < memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("group", "limits", "found"),
    [
        ("0::/", {"memory.max": "2147483648"}, [2147483648]),
        ("0::/", {"memory.max": "max"}, []),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "1000"}, [1000]),
        # in a container: the name is the one outside, the limit lies at the top
        ("0::/docker/0123", {"memory.max": "5000"}, [5000]),
        ("0::/../x", {"memory.max": "5000", "../x/memory.max": "3"}, [3, 5000]),
        ("0::/Fotos-\u00fc", {"Fotos-\u00fc/memory.max": "6"}, [6]),
        ("no colons", {"memory.max": "5000"}, []),
        ("4:memory:/x\n0::/", {"memory/x/memory.limit_in_bytes": "77"}, [77]),
        ("4:cpu,memory:/x", {"memory/memory.limit_in_bytes": "88"}, [88]),
        ("1:cpu:/x", {"memory.max": "5000"}, []),
        ("0::/", {"memory.max": "0"}, []),
    ],
)
def test_the_limits_on_the_groups_of_this_process_are_found(
    group: str, limits: dict[str, str], found: list[int], tmp_path: Path
) -> None:
    assert _group_limits(system(tmp_path, group, limits)) == found


def test_a_system_without_groups_has_no_limits(tmp_path: Path) -> None:
    assert _group_limits(tmp_path) == []
