"""What kind of file system a folder lies on, and what that means for its locks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["FileSystem", "filesystem_of", "list_mounts_below"]

# Names as Linux, macOS and Windows give them.  What several machines may have at once, or what two
# mounts on one machine may show: a lock that is taken through one of them need not hold in another.
_SHARED = {
    *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "afpfs", "coda"),
    *("9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs", "webdav", "macfuse", "osxfuse"),
    *("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "orangefs", "pvfs2", "gfs2", "ocfs2"),
    *("fuse", "remote"),
}
_UNIONS = {
    *("overlay", "overlayfs", "aufs", "unionfs", "mergerfs"),
    *("fuse.fuse-overlayfs", "fuse.unionfs", "fuse.unionfs-fuse", "fuse.mergerfs"),
}
_MOUNTS = Path("/proc/self/mountinfo")
_UNC = ("\\\\", "//")
_REMOTE_DRIVE = 4  # of Windows's GetDriveTypeW
# where macOS's `struct statfs` has the name, with inode numbers of 64 bits
_NAME_AT, _NAME_LENGTH, _STATFS_LENGTH = 72, 16, 4096


class FileSystem(NamedTuple):
    """A file system by its system's own name for its kind; empty where it does not tell."""

    kind: str

    @property
    def is_union(self) -> bool:
        """Whether it lays one folder over others, as a container's root does."""
        return self.kind in _UNIONS

    @property
    def is_shared(self) -> bool:
        """Whether others may write it past this system's locks: a network's, or a program's."""
        is_program = self.kind.startswith("fuse.") and not self.is_union
        return self.kind in _SHARED or is_program

    @property
    def told(self) -> str:
        """What somebody should know who keeps a library there; empty as a rule."""
        if self.is_shared:
            return (
                f"on a {self.kind} file system, where locks may not reach other machines: one "
                "writer at a time is kept by a sign of life instead, and commits take longer"
            )
        if self.is_union:
            return (
                f"on a {self.kind} file system, as a container's own files are: it goes with the "
                "container unless it lies on a volume"
            )
        return ""


def filesystem_of(folder: str | os.PathLike[str]) -> FileSystem:
    """The file system of a folder, which need not be there yet; takes 0.1 ms."""
    real = os.path.realpath(folder)
    with suppress(OSError, ValueError, AttributeError):
        if sys.platform == "win32":
            return FileSystem(_ask_windows(real))
        if sys.platform == "darwin":
            return FileSystem(_ask_macos(real))
        return FileSystem(_find_mount(os.fsencode(real), _MOUNTS.read_bytes()))
    return FileSystem("")


def _find_mount(path: bytes, mounts: bytes) -> str:
    """The kind of the file system that is mounted nearest above a path; see proc(5), mountinfo."""
    nearest, kind = -1, b""
    for point, told in _read_mounts(mounts):
        # of two on one place the later one lies above
        if len(point) >= nearest and (path == point or path.startswith(point + b"/")):
            nearest, kind = len(point), told
    return kind.decode("ascii", "replace")


def _read_mounts(mounts: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Mount points, without a slash at their end, and the kinds of what is mounted there."""
    for line in mounts.splitlines():
        own, _, rest = line.partition(b" - ")
        point = own.split(b" ")[4]
        if b"\\" in point:  # a space, for example
            point = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), point)
        yield point.rstrip(b"/"), rest.split(b" ")[0]


def list_mounts_below(folder: bytes) -> list[bytes]:
    """Folders below one on which something is mounted now; none where that is not told (Linux)."""
    try:
        told = _MOUNTS.read_bytes()
    except OSError:
        return []
    inside = folder.rstrip(b"/") + b"/"
    return sorted({point for point, _ in _read_mounts(told) if point.startswith(inside)})


def _ask_windows(path: str) -> str:
    import ctypes

    if (path.startswith(_UNC) and not path.startswith("\\\\?\\")) or path.startswith("\\\\?\\UNC"):
        return "remote"
    root = os.path.splitdrive(path)[0] + "\\"
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    return "remote" if kernel.GetDriveTypeW(root) == _REMOTE_DRIVE else ""


def _ask_macos(path: str) -> str:
    import ctypes

    system = ctypes.CDLL(None, use_errno=True)
    # Intel's has two, of which the plain name has inode numbers of 32 bits
    statfs = getattr(system, "statfs$INODE64", None) or system.statfs
    told = ctypes.create_string_buffer(_STATFS_LENGTH)
    while statfs(os.fsencode(path), told) != 0:
        if path == os.path.dirname(path):
            return ""
        path = os.path.dirname(path)  # what is to be made lies where its folder does
    return told.raw[_NAME_AT : _NAME_AT + _NAME_LENGTH].split(b"\0")[0].decode("ascii", "replace")
