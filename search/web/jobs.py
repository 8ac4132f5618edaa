"""What changes the library: one job after the other, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from parecido.indexer.catalogue.changes import Disown, Own, Withdraw
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.reading.uploads import LEAVING, WAITING, Upload
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import LibraryBusy, ParecidoError, PathNotFound
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.pipeline import index_into, remove_from
from parecido.indexer.indexing.plan import Hooks
from parecido.indexer.library.indexes import misses_vectors
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.records.runs import IndexReport
from parecido.indexer.system.own_files import is_file
from parecido.search.web.errors import Refused
from parecido.search.web.settings import Settings
from parecido.search.web.uploads import Arrival, Uploads

__all__ = ["Job", "Jobs"]

_log = logging.getLogger("parecido")
_KEPT = 200  # jobs that have ended and can still be asked about
_WAITING = 1000
_TOGETHER = 64  # uploads that wait are indexed in one run


@dataclass
class Job:
    """One change on its way.  Written by the jobs' thread, read by anybody."""

    kind: str
    """``index``, ``add``, ``replace`` or ``delete``."""
    path: str
    picture: int | None = None
    """The picture that it is about; of an added one, once it is there."""
    arrival: Arrival | None = None
    """The bytes that came with it."""
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
        uploads: Uploads,
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
        if not settings.read_only and uploads.is_used:
            self._taking_up = self.put(Job("index", str(uploads.folder)))
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the running job commit what is ready, and stop."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def put(self, job: Job) -> Job:
        """Line up.  Raises :class:`~parecido.search.web.errors.Refused` where too many wait."""
        with self._wake:
            if len(self._waiting) >= _WAITING:
                self._discard(job)
                retry = {"Retry-After": "10"}
                raise Refused(503, "busy", "Too many jobs wait.", "Try again.", retry)
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
        self._make_missing_index()
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
                    self._discard(job)
            for job in jobs:
                job.ended_at = time.time()
                job.ended.set()

    def _make_missing_index(self) -> None:
        """Searches make do without the vector index's file; where another writes, it makes it."""
        library = self._library
        if self._settings.read_only:
            return
        try:
            if misses_vectors(library.folder, library.catalogue):
                with library.writer() as writing:
                    bring_up_to_date(writing)
        except ParecidoError as error:
            _log.info("The vector index was not made: %s", error)
        except Exception:  # of FAISS for one; the jobs go on
            _log.exception("The vector index was not made.")

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
            self._discard(job)
            job.state, job.ended_at = "stopped", time.time()
            job.ended.set()
        return self._waiting[0] if self._waiting else None

    def _run(self, jobs: Sequence[Job]) -> None:
        job = jobs[0]
        if job.kind == "delete":
            self._delete(job)
            return
        if job is self._taking_up and not self._has_left():
            return

        def stop() -> bool:
            return self._closed or all(job.stop for job in jobs)

        def progress(report: IndexReport) -> None:
            for job in jobs:
                job.report = report

        options = IndexOptions(wait=True, device=self._settings.device)
        if job.kind != "index":
            options = replace(options, limits=self._settings.limits)
        elif job is not self._taking_up:
            options = replace(options, inside=self._settings.index_roots)
        try:
            with self._library.writer(wait=True, stop=stop) as writing:
                if stop():  # before it was its turn
                    raise LibraryBusy("The job was stopped.")
                if paths := self._paths(jobs, writing.catalogue):
                    hooks = Hooks(progress, stop)
                    report = index_into(writing, paths, options, self._encoder(), hooks)
                    progress(report)
                    self._settle_waiting(writing.catalogue)
        except LibraryBusy:
            if not stop():
                raise
            progress(IndexReport(interrupted=True))
            for job in jobs:
                self._discard(job)
            return
        if job.kind != "index":
            self._name_pictures(jobs)

    def _paths(self, jobs: Sequence[Job], catalogue: CatalogueWriter) -> list[str]:
        """What is to be indexed; uploads get their places first."""
        if jobs[0] is self._taking_up:
            return self._resume(catalogue)
        coming = [(job, job.arrival) for job in jobs if job.arrival is not None]
        if not coming:
            return [jobs[0].path]
        places = self._uploads.settle([arrival for _, arrival in coming], catalogue)
        for (job, _), place in zip(coming, places, strict=True):
            if isinstance(place, Refused):
                job.error = place
            else:
                job.path = str(place)
        return [str(place) for place in places if not isinstance(place, Refused)]

    def _discard(self, job: Job) -> None:
        """Let go of what came with a job that came to nothing; the next server must not take it up.

        It does take up what waits when this one ends.
        """
        if job.arrival is not None and not self._closed:
            with suppress(OSError):  # what stays is taken up by the next start
                self._uploads.discard(job.arrival)

    def _settle_waiting(self, catalogue: CatalogueWriter) -> None:
        """Let no upload wait that was in the library already, or was moved there."""
        waiting = catalogue.uploads.list_uploads(WAITING)
        if waiting:
            catalogue.write([Own(u.path, u.content_hash, u.before, u.stamp) for u in waiting])

    def _name_pictures(self, jobs: Sequence[Job]) -> None:
        """Which pictures the uploads became."""
        skipped = {skip.path: skip for skip in jobs[0].report.skipped}
        for job in jobs:
            if job.error is not None:
                continue
            found = self._library.catalogue.picture_at(job.path)
            job.picture = found.id if found else None
            if found is None and job.path in skipped:
                reason = skipped[job.path].reason
                job.error = Refused(422, "picture_unreadable", f"It was skipped: {reason}.")

    def _delete(self, job: Job) -> None:
        """Take a picture out of the library, and its file away where it was uploaded here.

        That it is to go is committed with the picture's removal: killed in between, the next server
        removes the file.
        """
        raw = os.fsencode(job.path)
        with self._library.writer(wait=True) as writing:
            upload = writing.catalogue.uploads.at(raw)
            with suppress(PathNotFound):  # it was removed meanwhile
                along = [Withdraw(raw)] if upload else []
                remove_from(writing, [job.path], along)
            if upload is not None:
                self._clear([upload], writing.catalogue)

    def _clear(self, uploads: Sequence[Upload], catalogue: CatalogueWriter) -> None:
        """Remove the files of uploads that leave, and then their rows."""
        gone = [upload.path for upload in uploads if self._uploads.remove(upload)]
        if gone:
            catalogue.write([Disown(gone)])

    def _has_left(self) -> bool:
        """Whether anything was on its way when the last server ended, or the folder was moved."""
        catalogue = self._library.catalogue
        return bool(
            self._is_from_before(catalogue)
            or self._uploads.list_arrivals(catalogue)
            or self._uploads.list_moves(catalogue)
            or catalogue.uploads.list_uploads(LEAVING)
            or catalogue.uploads.list_uploads(WAITING)
        )

    def _is_from_before(self, catalogue: Catalogue) -> bool:
        """Whether the folder may hold uploads of before they had rows."""
        folders = catalogue.settings.uploads_taken_over()
        return folders is not None and str(self._uploads.folder) not in folders

    def _resume(self, catalogue: CatalogueWriter) -> list[str]:
        """Go on with what was on its way when the last server ended; what is to be indexed."""
        if self._is_from_before(catalogue):
            catalogue.take_over_uploads(self._uploads.folder)
        if moved := self._uploads.list_moves(catalogue):
            now = [Own(u.path, u.content_hash, u.before, u.stamp) for _, u in moved]
            catalogue.write([Disown([old.path for old, _ in moved]), *now])
        for place in self._uploads.settle(self._uploads.list_arrivals(catalogue), catalogue):
            if isinstance(place, Refused):
                _log.warning("An upload that had come was let go: %s", place)
        self._clear(catalogue.uploads.list_uploads(LEAVING), catalogue)
        waiting = [os.fsdecode(upload.path) for upload in catalogue.uploads.list_uploads(WAITING)]
        return [path for path in waiting if is_file(Path(path))]
