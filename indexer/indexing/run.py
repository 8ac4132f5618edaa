"""One indexing run: discover → decode → encode → catalogue, overlapped.

The calling thread walks, decides and writes; the workers of
:mod:`parecido.indexer.indexing.workers` do the rest.
"""

from __future__ import annotations

import os
import time

from parecido.indexer.catalogue.changes import (
    Add,
    Change,
    Forget,
    Move,
    Remove,
    SkipFile,
    Touch,
)
from parecido.indexer.catalogue.known import Known, Mount
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import ParecidoError, PathNotFound
from parecido.indexer.indexing.annotations import Annotations
from parecido.indexer.indexing.changed_files import ChangedFiles, is_outdated
from parecido.indexer.indexing.id_set import IdSet
from parecido.indexer.indexing.places.missing import look_at_idle_mounts, look_for_missing
from parecido.indexer.indexing.plan import Hooks, Plan
from parecido.indexer.indexing.prepare import Prepared
from parecido.indexer.indexing.workers import Flow
from parecido.indexer.pictures.decoding.versions import DECODERS_KINDS, decoder_versions
from parecido.indexer.pictures.read import LEADS_OUT
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.left_out import REASONS
from parecido.indexer.records.pictures import Described, Note, Picture, Skip
from parecido.indexer.records.runs import IndexReport
from parecido.indexer.system.paths import below_any

__all__ = ["Run"]

COMMIT_SECONDS = 1.0
PATIENCE_SECONDS = 2.0  # how long a decoded picture waits for others of its shape
COMMIT_CHANGES = 512
# Between two looks at the time, and at whether to stop: what is ready is committed although a file
# takes a minute.
_BREATH_SECONDS = 0.1


class Run:
    """One indexing run, behind the library's lock.

    New roots are written with the first commit, so that a run that is killed leaves them known.
    """

    def __init__(self, catalogue: CatalogueWriter, plan: Plan, hooks: Hooks) -> None:
        self._catalogue = catalogue
        self._plan = plan
        self._hooks = hooks
        self._report = _begin_report(plan)
        self._seen = IdSet(catalogue.largest_id())
        self._seen_skips: set[bytes] = set()
        self._within = plan.keeps_regions
        # of pictures that have no regional descriptors yet
        self._waiting = set(catalogue.regional.find_waiting()) if self._within else set()
        have = catalogue.regional.has_bytes if self._within else catalogue.has_bytes
        self._flow = Flow(plan, have)
        self._changes: list[Change] = []
        self._annotations = Annotations(catalogue, plan, self._write)
        # of the bytes among these changes
        self._fresh: list[bytes] = []
        self._new_roots = list(plan.roots.new)
        self._mounts = set(catalogue.mounts())
        self._last_commit = time.monotonic()
        self._vanished = False
        # of bytes that many files hold, up to which id they were looked at
        self._standing: dict[bytes, int] = {}
        self.committed_anything = False
        """Whether the catalogue has been written."""

    def execute(self) -> IndexReport:
        """Walk, describe and commit; what was done.

        Raises :class:`~parecido.PathNotFound` where there is no file at all, ``NoSpace``, or an
        encoder's errors.
        """
        walk = self._walk = self._plan.walk()
        changed = ChangedFiles(
            self._catalogue,
            self._report,
            self._seen,
            self._pulse,
            self._seen_skips,
            frozenset(self._waiting),
            self._write,
            self._annotations.is_as_before,
            not self._plan.inside,
            self._plan.options.rehash,
        )
        try:
            for entry, known in changed.walk(walk):
                self._flow.put(entry, known, anyway=is_outdated(known))
                if self._pulse():
                    break
            self._finish()
        except ParecidoError:
            # Ctrl-C reaches a child that builds the encoder too; its failure is not the news
            if not self._hooks.stop():
                raise
            self._report.interrupted = True
        finally:
            self._flow.close()
        report = self._report
        report.preparing_seconds, report.encoded = self._flow.preparing_seconds, self._flow.encoded
        if not report.interrupted:
            self._commit()  # moves first: a moved picture is not gone
            report.left_out, report.remarks = walk.left_out.list_all(), walk.list_notes()
            if changed.missed or self._vanished or self._plan.roots.gone:
                self._remove_missing(walk)
            away, filled = look_at_idle_mounts(self._catalogue, self._plan.roots, self._seen)
            report.missing_roots += map(os.fsdecode, away)
            self._catalogue.drop_mounts(filled)
            self._tell_unseen(walk)
            self._catalogue.drop_roots(self._plan.roots.gone)
        if changed.files or report.removed or report.skipped or self._plan.roots.gone:
            self._commit()
        elif not (report.interrupted or report.missing_roots or report.replaced_roots):
            raise _find_nothing(walk)
        return report

    def _pulse(self) -> bool:
        """Take what is ready, commit now and then; whether the run was asked to stop.

        Returns when the workers can be given more.
        """
        self._take_all()
        while not self._is_stopped():
            if (
                len(self._changes) >= COMMIT_CHANGES
                or time.monotonic() - self._last_commit >= COMMIT_SECONDS
            ):
                self._flow.flush(older_than=PATIENCE_SECONDS)
                self._commit()
            if not self._flow.is_full:
                return False
            self._take_all(_BREATH_SECONDS)
        return True

    def _is_stopped(self) -> bool:
        if self._hooks.stop():
            self._report.interrupted = True
            self._flow.abandon()
        return self._report.interrupted

    def _finish(self) -> None:
        """Wait for the workers, and then for the buckets that nothing fills any more."""
        self._take_ready()
        self._flow.flush()
        self._take_ready()

    def _take_ready(self) -> None:
        """Take all that comes without another flush."""
        self._pulse()
        while self._flow.is_busy:
            self._take_all(_BREATH_SECONDS)
            self._pulse()

    # -- decide ----------------------------------------------------------------------------------

    def _take_all(self, seconds: float = 0.0) -> None:
        """Decide on the files that are done, waiting so long for the first."""
        for prepared in self._flow.get(seconds):
            self._take(prepared)
        self._tell()

    def _take(self, prepared: Prepared) -> None:
        if prepared.refused is not None:
            self._refuse(prepared)
        elif prepared.described is not None:
            self._add(prepared.described, prepared)
        else:
            self._take_known_bytes(prepared)

    def _refuse(self, prepared: Prepared) -> None:
        entry, error = prepared.entry, prepared.refused
        assert error is not None
        self._skip(entry.path, error.reason, error.kind)
        if error.kind == "vanished":
            self._vanished = True
            return  # not seen: if it was a picture, it is gone
        self._seen_skips.add(entry.path)
        decoder = decoder_versions() if error.kind in DECODERS_KINDS else ""
        told = (error.reason, error.kind, decoder)
        now = Known(None, entry.file_size, entry.mtime_ns, *told, entry.ctime_ns)
        if prepared.known == now:
            return  # as it was
        replaces = prepared.known.id if prepared.known else None
        self._changes.append(SkipFile.of(entry, now, replaces))

    def _write(self, change: Change) -> None:
        self._changes.append(change)

    def _take_known_bytes(self, prepared: Prepared) -> None:
        """Bytes that the catalogue has: the file was touched, moved or copied."""
        entry, known = prepared.entry, prepared.known
        if (
            known is not None
            and known.id is not None
            and known.id not in self._waiting
            and self._catalogue.content_hash(known.id) == prepared.content_hash
        ):
            self._seen.add(known.id)
            if entry[1:] != (known.file_size, known.mtime_ns, known.ctime_ns):
                self._changes.append(Touch(known.id, *entry[1:]))
            if self._annotations.is_as_before(known.id, entry):
                self._report.unchanged += 1
            else:
                self._report.updated += 1
            return
        gone = None
        if known is None or known.id is None:
            gone = self._find_gone_twin(prepared.content_hash)
            if gone is not None and gone not in self._waiting:
                self._seen.add(gone)
                self._changes.append(Move(gone, *entry))
                self._annotations.is_as_before(gone, entry)  # its sidecars may have stayed behind
                self._report.moved += 1
                return
        twin = self._twin(prepared.content_hash)
        if twin is not None:
            _, vectors = self._catalogue.descriptors.of([twin.id])
            regional = self._catalogue.regional.of([twin.id]).get(twin.id) if self._within else None
            if len(vectors) and (regional is not None or not self._within):
                told = self._annotations.tell_of_copy(twin, entry)
                described = Described(
                    *(twin.width, twin.height, twin.format, twin.labels, pack(vectors[0])),
                    *(told.taken, regional, told.details),
                    decoding=self._decoding_of(twin),
                    look=self._catalogue.looks.of([twin.id]).get(twin.id),
                )
                self._add(described, prepared, gone)
                return
        # the twin was given other content since the worker looked: decode after all
        self._flow.put(entry, known, anyway=True)

    def _decoding_of(self, twin: Picture) -> int:
        """By which rules the pixels were made that a copy shares."""
        known = self._catalogue.known(os.fsencode(twin.path))
        return known.decoding if known is not None else 0

    def _twin(self, digest: bytes) -> Picture | None:
        """A picture with these bytes, one that has all that the library keeps of a picture."""
        if not self._within:
            return self._catalogue.twin(digest)
        twin = self._catalogue.regional.twin(digest)
        return next(iter(self._catalogue.pictures([twin] if twin is not None else [])), None)

    def _find_gone_twin(self, digest: bytes) -> int | None:
        """The id of a picture with these bytes whose file is no longer there.

        Each is looked at once in a run, so that a crowd of copies is not compared with itself.
        """
        for twin_id, path in self._catalogue.twins(digest, self._standing.get(digest, 0)):
            self._standing[digest] = twin_id
            if twin_id not in self._seen and self._is_gone(path):
                return twin_id
        return None

    def _is_gone(self, path: bytes) -> bool:
        """Whether nothing lies at an indexed path any more, and it is no unplugged disk's."""
        return not os.path.lexists(path) and not below_any(path, self._plan.roots.absent)

    # -- write -----------------------------------------------------------------------------------

    def _add(self, described: Described, prepared: Prepared, moved: int | None = None) -> None:
        """Write what is known of a file; ``moved`` is the picture that it was elsewhere."""
        entry, known = prepared.entry, prepared.known
        picture_id = known.id if known and known.id is not None else moved
        if picture_id is None and self._waiting:
            # decoded although its bytes were known: it may have moved while it waited
            picture_id = self._find_gone_twin(prepared.content_hash)
        self._waiting.discard(picture_id or 0)
        described = self._annotations.complete(described, entry)
        self._changes.append(Add(entry, prepared.content_hash, described, picture_id))
        self._fresh.append(prepared.content_hash)
        if described.note:
            self._report.notes.append(Note(os.fsdecode(entry.path), described.note))
        if picture_id is None:
            self._report.added += 1
        else:
            self._seen.add(picture_id)
            self._report.updated += 1
            self._report.redecoded += is_outdated(known)

    def _commit(self) -> None:
        self._last_commit = time.monotonic()
        own = self._catalogue.settings.encoder()
        # its file may have another place, with the fingerprint as it was
        encoder_moved = own is not None and own != self._plan.spec
        mounts = [one for one in map(Mount._make, self._walk.mounts) if one not in self._mounts]
        if not (self._changes or self._new_roots or mounts or encoder_moved):
            return
        self._catalogue.write(
            self._changes,
            encoder=self._plan.spec if own != self._plan.spec else None,
            seen_roots=self._new_roots,
            seen_mounts=mounts,
        )
        self._mounts.update(mounts)
        self.committed_anything = True
        self._changes, self._new_roots = [], []
        self._flow.forget(self._fresh)
        self._fresh = []
        self._hooks.committed(self._report)

    # -- what is gone ----------------------------------------------------------------------------

    def _remove_missing(self, walk: Walk) -> None:
        roots = self._plan.roots
        found = look_for_missing(self._catalogue, roots, walk, self._seen, self._seen_skips)
        if found.pictures:
            self._changes.append(Remove(found.pictures))
            self._report.removed += len(found.pictures)
            self._report.removed_by_rules += found.by_rules
        if found.skips:
            self._changes.append(Forget(found.skips))
        self._report.missing_roots += map(os.fsdecode, found.kept)

    def _tell_unseen(self, walk: Walk) -> None:
        for paths, reason, kind in (
            (walk.broken, "the link leads nowhere", "vanished"),
            (walk.outside, LEADS_OUT, "unreadable"),
            (self._plan.roots.forbidden, "a rule of its owner leaves it out", "unreadable"),
            (walk.unreadable, "it cannot be looked into; its pictures are kept", "unreadable"),
        ):
            for path in paths:
                self._skip(path, reason, kind)

    def _skip(self, path: bytes, reason: str, kind: str) -> None:
        self._report.skipped.append(Skip(os.fsdecode(path), reason, kind))

    def _tell(self) -> None:
        self._hooks.progress(self._report)


def _begin_report(plan: Plan) -> IndexReport:
    """What is known before the first file is looked at."""
    certain = [one for one in plan.relocated if one.is_certain]
    copied = [one for one in plan.relocated if not one.is_certain]
    return IndexReport(
        missing_roots=list(plan.roots.missing),
        replaced_roots=list(plan.roots.replaced),
        relocated=[(os.fsdecode(one.old), os.fsdecode(one.new)) for one in certain],
        copied=[(os.fsdecode(one.old), os.fsdecode(one.new)) for one in copied],
    )


def _find_nothing(walk: Walk) -> PathNotFound:
    """What is raised where there is no file at all."""
    where = f"There are no files in {', '.join(walk.roots)}"
    if left_out := walk.left_out.list_all():
        whys = ", ".join(REASONS[one.reason] for one in left_out)
        return PathNotFound(
            f"{where} but what is left out: {whys}.",
            "--include PATTERN takes in what it matches, --hidden hidden folders.",
        )
    return PathNotFound(f"{where}.", "Hidden folders are left out unless --hidden is given.")
