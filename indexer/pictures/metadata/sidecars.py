"""Files beside a picture that tell of it: XMP of photo managers, JSON of Google Takeout."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from parecido.indexer.pictures.metadata.dates import from_unix
from parecido.indexer.pictures.metadata.told import NOTHING, Position, Told, to_position
from parecido.indexer.pictures.metadata.xmp import MOST_BYTES, read_xmp
from parecido.indexer.records.details import Stamp
from parecido.indexer.system.paths import SEPARATOR, signed64

__all__ = ["Sidecars", "read_takeout"]

_TAKEOUT = ".supplemental-metadata"
_LONGEST_TAKEOUT = 46  # letters of a name that Takeout keeps, ".json" apart
_NUMBERED = re.compile(r"(?P<stem>.*)(?P<number>\([0-9]+\))(?P<suffix>\.[^.]*)?", re.DOTALL)
_FOLDERS = 64  # whose sidecars are kept: a run takes files in their order, some hundred at once


class _Folder(NamedTuple):
    """Names of a folder's sidecars, by the names that they may belong to."""

    xmp: dict[str, str]
    takeout: dict[str, str]


class Sidecars:
    """Finds the files that tell of a picture.  For one thread.

    A folder is listed once for all its pictures, and only what belongs to a picture is looked at.
    """

    def __init__(self, follows_links: bool = True) -> None:
        self._follows_links = follows_links
        self._folders: OrderedDict[bytes, _Folder | None] = OrderedDict()
        self._last: bytes | None = None
        self._listed: _Folder | None = None

    def find(self, path: bytes) -> tuple[Stamp, ...]:
        """Names, sizes and times of the sidecars of a picture at an absolute path, by name."""
        folder, _, name = path.rpartition(SEPARATOR)
        if folder != self._last:
            self._last, self._listed = folder, self._list(folder + SEPARATOR)
        listed = self._listed
        if listed is None:
            return ()
        stamps: list[Stamp] = []
        for found in sorted(set(_list_names(os.fsdecode(name), listed))):
            with suppress(OSError):
                beside = folder + SEPARATOR + os.fsencode(found)
                status = os.stat(beside, follow_symlinks=self._follows_links)
                if stat.S_ISREG(status.st_mode):
                    stamps.append(Stamp(found, status.st_size, signed64(status.st_mtime_ns)))
        return tuple(stamps)

    def read(self, path: bytes, stamps: tuple[Stamp, ...]) -> list[tuple[str, Told]]:
        """What those sidecars of a picture tell: XMP before Takeout."""
        folder = os.path.dirname(path)
        told = []
        for stamp in stamps:
            is_xmp = stamp.name.lower().endswith(".xmp")
            try:
                data = self._read(os.path.join(folder, os.fsencode(stamp.name)))
                found = read_xmp(data) if is_xmp else read_takeout(data)
            except Exception:  # damage here takes nothing from the picture
                found = NOTHING
            told.append(("sidecar" if is_xmp else "takeout", found))
        return sorted(told, key=lambda one: one[0])

    def _read(self, path: bytes) -> bytes:
        without_links = 0 if self._follows_links else getattr(os, "O_NOFOLLOW", 0)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags | without_links), "rb") as file:
            status = os.fstat(file.fileno())
            is_read = stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES
            return file.read(MOST_BYTES) if is_read else b""

    def _list(self, folder: bytes) -> _Folder | None:
        """The sidecars in a folder; None where there are none."""
        if folder in self._folders:
            return self._folders[folder]
        listed = _Folder({}, {})
        try:
            names = os.listdir(folder)
        except OSError:
            names = []
        for raw in names:
            kind = raw[-5:].lower()
            if kind == b".json":
                name = os.fsdecode(raw)
                listed.takeout[name[:-5]] = name
            elif kind[1:] == b".xmp":
                name = os.fsdecode(raw)
                listed.xmp.setdefault(name[:-4], name)
        self._folders[folder] = listed if listed.xmp or listed.takeout else None
        if len(self._folders) > _FOLDERS:
            self._folders.popitem(last=False)
        return self._folders[folder]


def read_takeout(data: bytes) -> Told:
    """What Google Takeout tells of a picture; its moments are Greenwich's."""
    given = json.loads(data.decode("utf-8-sig", "replace"))
    if not isinstance(given, dict):
        return NOTHING
    seconds = _plain(given.get("photoTakenTime")).get("timestamp")
    moment = from_unix(float(seconds)) if isinstance(seconds, (str, int, float)) else None
    places = (_place(given.get(name)) for name in ("geoData", "geoDataExif"))
    return Told(moment, position=next((place for place in places if place is not None), None))


def _place(given: Any) -> Position | None:
    latitude, longitude = (_plain(given).get(name) for name in ("latitude", "longitude"))
    if not isinstance(latitude, (int, float)) or not isinstance(longitude, (int, float)):
        return None
    return to_position(float(latitude), float(longitude))


def _plain(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _list_names(name: str, listed: _Folder) -> Iterator[str]:
    """The sidecars among the listed ones that belong to a picture's name."""
    if listed.xmp:
        for key in (name, name.rpartition(".")[0] or name):
            if key in listed.xmp:
                yield listed.xmp[key]
    if listed.takeout:
        for key in _takeout_names(name):
            if key in listed.takeout:
                yield listed.takeout[key]


def _takeout_names(name: str) -> Iterator[str]:
    """What Takeout may call a picture's JSON, its ending apart.

    ``IMG.jpg.supplemental-metadata``, cut where that gets long; ``IMG.jpg(1)`` for ``IMG(1).jpg``.
    """
    numbered = _NUMBERED.fullmatch(name)
    forms = [(name, "")]
    if numbered is not None:
        forms.append((numbered["stem"] + (numbered["suffix"] or ""), numbered["number"]))
    for plain, number in forms:
        whole = plain + _TAKEOUT
        for length in range(len(plain), len(whole) + 1):
            yield whole[:length] + number
        if len(whole) > _LONGEST_TAKEOUT and len(plain) > _LONGEST_TAKEOUT:
            for kept in (_LONGEST_TAKEOUT, _LONGEST_TAKEOUT - len(number)):
                yield whole[:kept] + number
