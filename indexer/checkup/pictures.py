"""Read the pictures' files, and compare their bytes with what was indexed."""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

from parecido.indexer.catalogue.known import FileRow
from parecido.indexer.checkup.scrub_place import Place, ScrubPlace
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.places.roots import find_absent
from parecido.indexer.library.library import Library
from parecido.indexer.pictures.read import open_file
from parecido.indexer.records.pictures import Skip
from parecido.indexer.records.runs import PictureCheck
from parecido.indexer.system.files import hash_pieces, read_from_disk
from parecido.indexer.system.paths import below_any, signed64

__all__ = ["verify_pictures"]

# Enough that the disk and the hash work at the same time, and that a network's answers overlap.  On
# two busy cores one thread reads 260 MB or 4,000 tiny files a second, four 420 MB or 15,700, and
# eight no more; a disk that turns loses little to so few readers.
_THREADS = 4
_AHEAD = 8 * _THREADS  # files on their way, while one of them is large
_PAGE = 1024  # rows of the catalogue that are asked for together
KEEP_SECONDS = 1.0  # of reading are lost at most when the process is killed
_LOOKS = 3  # at a file whose row changes meanwhile
# with which a disk or file system tells that it lost what a file held
_FAILING = (errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO))

SOUND, CHANGED, OUTDATED, GONE = "sound", "changed", "outdated", "gone"
UNREADABLE, FAILING = "unreadable", "failing"


def verify_pictures(
    library: Library,
    share: float = 100.0,
    *,
    progress: Callable[[PictureCheck], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> PictureCheck:
    """Read each picture's file, and compare its bytes with what was indexed.

    In the order of ids.  With a share, in percent, so many pictures behind those of earlier shares
    are read, and the place is kept in the library's folder, so that ten shares of 10 % have read
    all that were there at the first; the next begins anew.  A check that is interrupted, or killed,
    is gone on with by the next, one of everything by one of everything or a share.  No file is
    written but that place, and no lock is taken.  ``progress`` is called with the running check;
    when ``stop`` returns true, it ends with ``interrupted`` set.

    Raises :class:`~parecido.InvalidRequest` for a share that is not above 0 and at most 100.
    """
    if not 0 < share <= 100:
        raise InvalidRequest(
            f"Expected a share above 0 and at most 100 percent, got {share}.",
            "Ten runs with 10 % read everything once.",
        )
    scrub = _Scrub(library, share, stop)
    scrub.run(progress)
    return scrub.check


class _Stopped(Exception):
    """A check was asked to stop in the middle of a file."""


class _Outcome(NamedTuple):
    """What became of one file."""

    kind: str
    bytes: int = 0
    reason: str = ""


class _Scrub:
    """One check: from its place on, over its share."""

    def __init__(self, library: Library, share: float, stop: Callable[[], bool]) -> None:
        self._catalogue = library.catalogue
        self._place = ScrubPlace(library.folder)
        self._stop = stop
        total = self._catalogue.counts()[0]
        kept = self._place.read()
        # who wants everything reads everything, unless just that was interrupted
        if kept is not None and share == 100 and kept.share < 100:
            kept = None
        self._left = self._catalogue.count_after(kept.last_id) if kept else 0
        if kept is None or not self._left:
            kept, self._left = Place(0, share, total), total
        self._from = kept._replace(share=share, pictures=max(kept.pictures, total))
        wanted = min(self._left, math.ceil(self._from.pictures * share / 100))
        self.check = PictureCheck(
            share=share, total=total, wanted=wanted, resumed=self._from.last_id > 0
        )
        self._absent = find_absent(self._catalogue)
        self._kept_at = time.monotonic()

    def run(self, progress: Callable[[PictureCheck], None]) -> None:
        check = self.check
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scrub")
        waiting: deque[tuple[FileRow, Future[_Outcome] | None]] = deque()
        progress(check)
        try:
            for row in self._rows():
                away = below_any(row.path, self._absent)
                waiting.append((row, None if away else pool.submit(_look, row, self._stop)))
                if len(waiting) > _AHEAD:
                    self._take(*waiting.popleft())
                    progress(check)
                if self._stop():
                    raise _Stopped
            while waiting:
                self._take(*waiting.popleft())
                progress(check)
                if waiting and self._stop():
                    raise _Stopped
            check.complete = check.wanted == self._left
        except _Stopped:
            check.interrupted = True
        finally:
            pool.shutdown(cancel_futures=True)
            self._keep()
        self._tell_away()

    def _rows(self) -> Iterator[FileRow]:
        last_id, wanted = self._from.last_id, self.check.wanted
        while wanted > 0 and (page := self._catalogue.files_after(last_id, min(wanted, _PAGE))):
            yield from page
            last_id, wanted = page[-1].id, wanted - len(page)

    def _take(self, row: FileRow, future: Future[_Outcome] | None) -> None:
        """Count what became of one picture, in the order of ids."""
        if future is None:
            self.check.away += 1
        else:
            self._count(*self._settle(row, future.result()))
        check = self.check
        check.looked += 1
        check.last_id = row.id
        check.first_id = check.first_id or row.id
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._keep()

    def _settle(self, row: FileRow, outcome: _Outcome) -> tuple[FileRow, _Outcome | None]:
        """The row as it is by now, which a writer may have changed meanwhile, and its outcome.

        None for a picture that left the library.
        """
        for _ in range(_LOOKS):
            if outcome.kind == SOUND:
                break
            now = next(iter(self._catalogue.files_after(row.id - 1, 1)), None)
            if now is None or now.id != row.id:
                return row, None
            if now == row:
                break
            row, outcome = now, _look(now, self._stop)
        return row, outcome

    def _count(self, row: FileRow, outcome: _Outcome | None) -> None:
        if outcome is None:
            return
        check, path = self.check, os.fsdecode(row.path)
        if outcome.kind in (SOUND, CHANGED):
            check.read += 1
            check.bytes += outcome.bytes
        if outcome.kind in (UNREADABLE, FAILING):
            check.unreadable.append(Skip(path, outcome.reason, outcome.kind))
        elif outcome.kind != SOUND:
            lists = {CHANGED: check.changed, OUTDATED: check.outdated, GONE: check.gone}
            lists[outcome.kind].append(path)

    def _keep(self) -> None:
        """Write where to go on."""
        check = self.check
        if check.complete:
            self._place.forget()
        elif check.last_id is not None:
            self._place.keep(self._from._replace(last_id=check.last_id))
        check.not_kept = self._place.not_kept
        self._kept_at = time.monotonic()

    def _tell_away(self) -> None:
        """Count what could not be had as away where its disk was unplugged meanwhile."""
        check = self.check
        if not check.gone and not check.unreadable:
            return
        absent = find_absent(self._catalogue)
        before = len(check.gone) + len(check.unreadable)
        check.gone = [path for path in check.gone if not below_any(os.fsencode(path), absent)]
        check.unreadable = [
            one for one in check.unreadable if not below_any(os.fsencode(one.path), absent)
        ]
        check.away += before - len(check.gone) - len(check.unreadable)


def _look(row: FileRow, stop: Callable[[], bool]) -> _Outcome:
    """Read one file, and compare it with its row.  Raises :class:`_Stopped`."""
    try:
        with open_file(os.fsdecode(row.path)) as file:
            if not _looks_as_before(file, row):
                return _Outcome(OUTDATED)
            digest = hash_pieces(_read(file, stop))
            if digest == row.content_hash:
                return _Outcome(SOUND, row.file_size)
            # an edit that kept size and time, or one while it was read, is no damage
            is_changed = _looks_as_before(file, row) and not _was_written_to(file, row)
            return _Outcome(CHANGED, row.file_size) if is_changed else _Outcome(OUTDATED)
    except (FileNotFoundError, NotADirectoryError):
        return _Outcome(GONE)
    except OSError as error:
        kind = FAILING if error.errno in _FAILING else UNREADABLE
        return _Outcome(kind, reason=f"the file cannot be read ({error.strerror or error})")


def _looks_as_before(file: BinaryIO, row: FileRow) -> bool:
    """Whether a file has the size and time with which it was indexed."""
    status = os.fstat(file.fileno())
    is_file = stat.S_ISREG(status.st_mode)
    found = (status.st_size, signed64(status.st_mtime_ns))
    return is_file and found == (row.file_size, row.mtime_ns)


def _was_written_to(file: BinaryIO, row: FileRow) -> bool:
    """Whether a file's change time is another than when it was indexed, which no disk alters."""
    changed = signed64(os.fstat(file.fileno()).st_ctime_ns)
    return os.name != "nt" and row.ctime_ns not in (None, changed)


def _read(file: BinaryIO, stop: Callable[[], bool]) -> Iterator[bytes]:
    for piece in read_from_disk(file):
        if stop():
            raise _Stopped
        yield piece
