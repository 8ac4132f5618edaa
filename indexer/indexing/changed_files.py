"""Walk and catalogue side by side: which files are new or changed.

Both come in byte order of the paths, so one look at each is enough, and memory stays flat.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from parecido.indexer.catalogue.changes import Change, SkipFile, Touch
from parecido.indexer.catalogue.known import Known
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.indexing.id_set import IdSet
from parecido.indexer.pictures.decoding.versions import DECODERS_KINDS, decoder_versions
from parecido.indexer.pictures.formats.changes import DECODING, may_have_changed_since
from parecido.indexer.pictures.formats.heads import HEAD_BYTES, has_changed_pixels
from parecido.indexer.pictures.read import open_file
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.pictures import FileEntry, Skip
from parecido.indexer.records.runs import IndexReport

__all__ = ["ChangedFiles", "is_outdated"]

# What refused these may be otherwise now, with the file as it was: permissions, the limits
_WORTH_ANOTHER_TRY = ("unreadable", "too-large")
# unchanged files between two looks at other things, and the time where some of them are asked anew
_PULSE, _PULSE_SECONDS = 1024, 0.2


def _may_be_read(kind: str, decoder: str) -> bool:
    """Whether a file that was left out may be read now, though it is as it was.

    One that its decoder failed on, or was brought down by, is tried once with each version of the
    decoders.
    """
    if kind in DECODERS_KINDS:
        return decoder != decoder_versions()
    return kind in _WORTH_ANOTHER_TRY


def is_outdated(known: Known | None) -> bool:
    """Whether a picture's pixels may be others by the rules of today, its file as it was."""
    return (
        known is not None
        and known.id is not None
        and may_have_changed_since(known.decoding, known.format)
    )


def _ignore(change: Change) -> None:
    pass


def _is_told_as_before(picture_id: int, entry: FileEntry) -> bool:
    return True


@dataclass
class ChangedFiles:
    """Passes on what needs a look, and counts the rest as unchanged or skipped.

    ``pulse`` is called now and then while files are unchanged; when it returns true, the walk ends.
    """

    catalogue: Catalogue
    report: IndexReport
    seen: IdSet
    pulse: Callable[[], bool]
    seen_skips: set[bytes]
    again: Collection[int] = ()
    """Ids of pictures that need a look although they are unchanged."""
    write: Callable[[Change], None] = _ignore
    """Called with what is to be known of a file beside what a look at it tells."""
    is_told_as_before: Callable[[int, FileEntry], bool] = _is_told_as_before
    """Called with the id of a picture whose file is unchanged; whether all that is told of it is as
    it was, which is written down otherwise."""
    reads_heads: bool = True
    """Whether the first bytes of files may be read."""
    rehash: bool = False
    """Whether every file needs one, whatever its size and time say."""
    files: int = 0
    """Files that the walk found."""
    missed: bool = False
    """Whether the catalogue knows paths below the walked folders that the walk did not come to."""
    stopped: bool = False

    def walk(self, walk: Walk) -> Iterator[tuple[FileEntry, Known | None]]:
        for folder, entries in walk.segments():
            if folder is None:
                (root,) = entries
                one = self.catalogue.known(root.path)
                known = iter([] if one is None else [(root.path, *one)])
                # it may have been a folder
                self.missed |= next(self.catalogue.known_below(root.path), None) is not None
            else:
                known = self.catalogue.known_below(folder)
                # it may have been a file
                self.missed |= self.catalogue.known(folder) is not None
            yield from self._compare(entries, known)
            if self.stopped:
                return

    def _compare(
        self, entries: Iterable[FileEntry], known: Iterator[tuple[Any, ...]]
    ) -> Iterator[tuple[FileEntry, Known | None]]:
        row = next(known, None)
        last_pulse = time.monotonic()
        for entry in entries:
            self.files += 1
            path = entry.path
            while row is not None and row[0] < path:
                self.missed = True
                row = next(known, None)
            if row is None or row[0] != path:
                # asked again: a picture may have been moved to this path since the page was read
                yield entry, self.catalogue.known(path)
            else:
                known_file = Known(*row[1:])
                if self._needs_look(entry, known_file):
                    yield entry, known_file
                else:
                    self._pass_by(entry, known_file)
                row = next(known, None)
            now = time.monotonic()
            if self.files % _PULSE and now - last_pulse < _PULSE_SECONDS:
                continue
            last_pulse = now
            if self.pulse():
                self.stopped = True
                return
        self.missed |= row is not None

    def _needs_look(self, entry: FileEntry, known: Known) -> bool:
        return (
            self.rehash
            or _has_changed(entry, known)
            or known.id in self.again
            or (is_outdated(known) and not self._shows_the_same(entry, known))
            or (known.kind != "" and _may_be_read(known.kind, known.decoder))
        )

    def _shows_the_same(self, entry: FileEntry, known: Known) -> bool:
        """Whether a picture has none of what is decoded otherwise by now, which is written down.

        Its first bytes are read; not for a client, whose paths may have been turned elsewhere.
        """
        if not self.reads_heads:
            return False
        try:
            with open_file(os.fsdecode(entry.path)) as file:
                head = file.read(HEAD_BYTES)
        except OSError:
            return False  # the look that follows tells
        if has_changed_pixels(head, known.format) or known.id is None:
            return False
        self.write(Touch(known.id, *entry[1:], decoding=DECODING))
        return True

    def _pass_by(self, entry: FileEntry, known: Known) -> None:
        if known.ctime_ns is None and entry.ctime_ns is not None:
            # of a file that was indexed before change times were kept
            times = entry.file_size, entry.mtime_ns, entry.ctime_ns
            is_skip = known.id is None
            self.write(SkipFile.of(entry, known) if is_skip else Touch(known.id or 0, *times))
        if known.id is None:
            self.seen_skips.add(entry.path)
            self.report.skipped.append(Skip(os.fsdecode(entry.path), known.reason, known.kind))
            return
        self.seen.add(known.id)
        if self.is_told_as_before(known.id, entry):
            self.report.unchanged += 1
        else:
            self.report.updated += 1


def _has_changed(entry: FileEntry, known: Known) -> bool:
    """Whether a file may hold other bytes than before.

    Its change time tells an edit that keeps size and time, as programs make them that write into
    the file and put its time back.  One that is not known tells nothing.
    """
    if entry.file_size != known.file_size or entry.mtime_ns != known.mtime_ns:
        return True
    return None not in (entry.ctime_ns, known.ctime_ns) and entry.ctime_ns != known.ctime_ns
