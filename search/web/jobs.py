"""What changes the library: one job after the other, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from indexer.catalogue import Root
from indexer.discover import signed64
from indexer.durable import sync_folder
from indexer.encoders import Encoder
from indexer.errors import ParecidoError, PathNotFound
from indexer.library import Library, writing_folder
from indexer.options import IndexOptions
from indexer.ownfiles import is_folder, remove_own
from indexer.pipeline import index, remove
from indexer.records import IndexReport
from search.web.answers import Refused
from search.web.settings import Settings

__all__ = ["Job", "Jobs"]

_log = logging.getLogger("parecido")
_KEPT = 200  # jobs that have ended and can still be asked about
_WAITING = 1000
_DELETED = ".deleted"
_SHELF = re.compile(r"[0-9a-f]{2}")
# of an upload below the server's folder: its digest begins with the two digits of its shelf
_UPLOAD = re.compile(r"([0-9a-f]{2})/[^/]+-\1[0-9a-f]{14}(-\d+)?(\.[^./]{1,8})?")
_TOGETHER = 64  # uploads that wait are indexed in one run


@dataclass
class Job:
    """One change on its way.  Written by the jobs' thread, read by anybody."""

    kind: str
    """``index``, ``add``, ``replace`` or ``delete``."""
    path: str
    picture: int | None = None
    """The picture that it is about; of an added one, once it is there."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    state: str = "waiting"
    """``waiting``, ``running``, ``done``, ``failed`` or ``stopped``."""
    report: IndexReport = field(default_factory=IndexReport)
    error: ParecidoError | None = None
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    stop: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    async def wait(self, seconds: float) -> bool:
        """Whether it ended within that time; raises what it failed with."""
        until = time.monotonic() + seconds
        while not self.ended.is_set() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return self.ended.is_set()


class Jobs:
    """The queue of changes to a library, and the thread that makes them."""

    def __init__(
        self,
        library: Library,
        uploads: Path,
        settings: Settings,
        encoder: Callable[[], Encoder | None],
    ) -> None:
        self._library = library
        self._uploads = uploads
        self._settings = settings
        self._encoder = encoder
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._taking_up: Job | None = None
        if not settings.read_only and uploads.is_dir():
            self._take_up()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the running job commit what is ready, and stop."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def put(self, job: Job) -> Job:
        """Line up.  Raises :class:`~search.web.answers.Refused` where too many wait."""
        with self._wake:
            if len(self._waiting) >= _WAITING:
                retry = {"Retry-After": "10"}
                raise Refused(503, "busy", "Too many jobs wait.", "Come again.", retry)
            self._jobs[job.id] = job
            for old in list(self._jobs.values())[: max(0, len(self._jobs) - _KEPT)]:
                if old.ended.is_set():
                    del self._jobs[old.id]
            self._waiting.append(job)
            self._wake.notify()
        return job

    def get(self, job_id: str) -> Job:
        """The job with that id."""
        with self._wake:
            found = self._jobs.get(job_id)
        if found is None:
            raise Refused(404, "job_not_found", "There is no such job.", "See /v1/jobs.")
        return found

    def all(self) -> list[Job]:
        """Those that wait, run, or ended not long ago, newest first."""
        with self._wake:
            return list(reversed(self._jobs.values()))

    def stop(self, job: Job) -> None:
        """Ask a job to commit what is ready, and end."""
        job.stop = True

    # -- on the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        while jobs := self._take():
            for job in jobs:
                job.state, job.started_at = "running", time.time()
            try:
                self._run(jobs)
                for job in jobs:
                    stopped = job.report.interrupted
                    job.state = "stopped" if stopped else "failed" if job.error else "done"
            except Exception as error:
                if not isinstance(error, ParecidoError):
                    _log.exception("A job failed: %s %s", jobs[0].kind, jobs[0].path)
                    error = ParecidoError("Something unexpected went wrong.", "See the log.")
                for job in jobs:
                    job.state, job.error = "failed", error
            for job in jobs:
                job.ended_at = time.time()
                job.ended.set()

    def _take(self) -> list[Job]:
        """The next job; uploads that wait behind an upload go with it."""
        with self._wake:
            while not self._closed and not self._next():
                self._wake.wait()
            if self._closed:
                for job in self._waiting:
                    job.state = "stopped"
                    job.ended.set()
                return []
            jobs = [self._waiting.popleft()]
            while (
                jobs[0].kind == "add"
                and len(jobs) < _TOGETHER
                and (following := self._next()) is not None
                and following.kind == "add"
            ):
                jobs.append(self._waiting.popleft())
            return jobs

    def _next(self) -> Job | None:
        """The first that waits; those that were stopped meanwhile never begin."""
        while self._waiting and self._waiting[0].stop:
            job = self._waiting.popleft()
            job.state, job.ended_at = "stopped", time.time()
            job.ended.set()
        return self._waiting[0] if self._waiting else None

    def _run(self, jobs: Sequence[Job]) -> None:
        job = jobs[0]
        if job.kind == "delete":
            self._delete(job)
            return
        paths = self._left() if job is self._taking_up else [job.path for job in jobs]
        if not paths:
            return
        if job.kind != "index" or job is self._taking_up:
            self._own_uploads()

        def stop() -> bool:
            return self._closed or all(job.stop for job in jobs)

        def progress(report: IndexReport) -> None:
            for job in jobs:
                job.report = report

        limits = self._settings.limits if job.kind != "index" else IndexOptions().limits
        options = IndexOptions(wait=True, limits=limits, device=self._settings.device)
        report = index(
            self._library,
            paths,
            options,
            encoder=self._encoder(),
            progress=progress,
            stop=stop,
        )
        progress(report)
        if job.kind != "index":
            self._name_pictures(jobs)

    def _name_pictures(self, jobs: Sequence[Job]) -> None:
        """Which pictures the uploads became."""
        skipped = {skip.path: skip for skip in jobs[0].report.skipped}
        for job in jobs:
            found = self._library.catalogue.picture_at(job.path)
            job.picture = found.id if found else None
            if found is None and job.path in skipped:
                reason = skipped[job.path].reason
                job.error = Refused(422, "picture_unreadable", f"It was skipped: {reason}.")

    def _own_uploads(self) -> None:
        """Let the library know the folder of uploads, so that each is not a root of its own."""
        raw = os.fsencode(self._uploads)
        if any(root.path == raw for root in self._library.catalogue.roots()):
            return
        status = os.stat(self._uploads)
        root = Root(raw, signed64(status.st_dev), signed64(status.st_ino))
        with self._library.writer(wait=True, stop=lambda: self._closed) as writer:
            writer.write([], seen_roots=[root])

    def _delete(self, job: Job) -> None:
        """Take a picture out of the library, and its file away where it was uploaded here.

        The file gets a hidden name first, which no walk takes up again: killed in between, the next
        run finds the picture gone and the file is removed then.
        """
        path = Path(job.path)
        hidden = path.with_name(f".{path.name}{_DELETED}")
        is_own_file = is_own(job.path, self._uploads)
        if is_own_file:
            with suppress(FileNotFoundError), writing_folder(self._uploads):
                os.replace(path, hidden)
                sync_folder(path.parent)
        try:
            with suppress(PathNotFound):  # it was removed meanwhile
                remove(self._library, [job.path], wait=True)
        except BaseException:
            with suppress(OSError):
                os.replace(hidden, path)
            raise
        if is_own_file:
            _unlink_deleted(path.parent)

    def _take_up(self) -> None:
        """What was on its way when the last server ended: uploads in, deleted files out."""
        if any(self._shelves()):
            self._taking_up = self.put(Job("index", str(self._uploads)))

    def _shelves(self) -> list[Path]:
        """The folders of the uploads that the server made."""
        folders = [p for p in self._uploads.iterdir() if _SHELF.fullmatch(p.name) and is_folder(p)]
        return sorted(folders)

    def _left(self) -> list[str]:
        """Uploads that were written, and not indexed before the server ended."""
        for folder in self._shelves():
            _unlink_deleted(folder)
        files = (str(path) for folder in self._shelves() for path in folder.iterdir())
        find = self._library.catalogue.picture_at
        return sorted(p for p in files if is_own(p, self._uploads) and find(p) is None)


def _unlink_deleted(folder: Path) -> None:
    if _SHELF.fullmatch(folder.name):
        names = re.compile(rf"\..+-{folder.name}[0-9a-f]{{14}}(-\d+)?(\.[^.]{{1,8}})?{_DELETED}")
        remove_own(folder, names)


def is_own(path: str, folder: Path) -> bool:
    """Whether a path leads to a file that was uploaded here, and by no symbolic link.

    It lies below the server's own folder and has a name that the server gives: a user's picture in
    that folder is the user's.
    """
    prefix = os.path.join(folder, "")
    name = path[len(prefix) :].replace(os.sep, "/")
    if not path.startswith(prefix) or _UPLOAD.fullmatch(name) is None:
        return False
    return os.path.realpath(path) == os.path.join(os.path.realpath(folder), path[len(prefix) :])
