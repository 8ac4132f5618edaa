"""Index a library: which encoder, which roots, and then the run.

Everything encoded is committed about once a second in one transaction; a run that is killed loses
that second and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from indexer.catalogue import Catalogue
from indexer.changes import Forget, Remove
from indexer.decode import pillow_limit
from indexer.discover import Walk, absolute
from indexer.encoders import Encoder, EncoderSpec
from indexer.encoders.base import sha256_of
from indexer.encoders.registry import FILE_SUFFIXES, network_named, resolve
from indexer.errors import EncoderMismatch, InvalidRequest, PathNotFound
from indexer.library import Library
from indexer.options import IndexOptions
from indexer.records import IndexReport
from indexer.run import Progress, Run, within

__all__ = ["IndexOptions", "index", "remove"]


def index(
    library: Library,
    paths: Iterable[str | os.PathLike[str]],
    options: IndexOptions | None = None,
    *,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> IndexReport:
    """Bring the library up to date with the pictures at these paths.

    Folders are searched recursively.  What is unchanged costs a look at its size and time; what
    moved keeps its id; what is gone from below these folders leaves the library.  No picture is
    ever written to.  ``progress`` is called with the running report after each file; when ``stop``
    returns true, what is ready is committed and the run ends with ``interrupted`` set.

    Raises :class:`~indexer.errors.EncoderMismatch` where the options name another encoder than the
    library's, :class:`~indexer.errors.PathNotFound` for a path that is not there,
    :class:`~indexer.errors.LibraryBusy`, ``LibraryReadOnly``, ``NoSpace``, or an encoder's errors.
    """
    options = options or IndexOptions()
    if options.workers < 0 or options.batch_size < 0:
        raise InvalidRequest("Workers and batch size must be 0 (automatic) or more.")
    roots = [absolute(path) for path in paths]
    if not roots:
        raise InvalidRequest("No path was given.", "Name at least one folder or picture.")
    with library.writer(wait=options.wait) as catalogue, pillow_limit(options.limits):
        started = time.monotonic()
        spec = encoder.spec if encoder else _choose(catalogue, options, library)
        own = catalogue.encoder()
        if own and own.fingerprint != spec.fingerprint and catalogue.counts()[0]:
            raise _mismatch(library, own, spec.title)
        report = IndexReport()
        present = _present(catalogue, roots, report)
        run = Run(catalogue, spec, encoder, options, report, progress, stop)
        try:
            run.all(Walk(present, options.exclude, options.hidden, library.folder))
        finally:
            report.seconds = time.monotonic() - started
        if library.encoder is not None:
            library.vectors(catalogue).save_if_worthwhile()
        report.seconds = time.monotonic() - started
        return report


def remove(library: Library, paths: Iterable[str | os.PathLike[str]], *, wait: bool = False) -> int:
    """Take the pictures at these paths, or below them, out of the library; how many there were.

    The files themselves are not touched.  Raises :class:`~indexer.errors.PathNotFound` where the
    library holds nothing at a path.
    """
    with library.writer(wait=wait) as catalogue:
        ids: list[int] = []
        forgotten: list[bytes] = []
        roots: list[bytes] = []
        for path in paths:
            raw = os.fsencode(absolute(path))
            below = [i for i, _ in catalogue.under(raw)]
            skipped = list(catalogue.skips_under(raw))
            below_roots = [r.path for r in catalogue.roots() if within(r.path, raw)]
            if not below and not skipped and not below_roots:
                raise PathNotFound(
                    f"The library holds nothing at {os.fsdecode(raw)}.",
                    "Give a path as it was indexed: an indexed picture, or a folder of such.",
                )
            ids += below
            forgotten += skipped
            roots += below_roots
        ids = sorted(set(ids))
        if ids or forgotten:
            catalogue.write([Remove(ids), Forget(forgotten)])
        catalogue.drop_roots(roots)
        if library.encoder is not None:
            library.vectors(catalogue).save_if_worthwhile()
        return len(ids)


def _choose(catalogue: Catalogue, options: IndexOptions, library: Library) -> EncoderSpec:
    """The library's own encoder, or for a library without pictures the one that is asked for."""
    own = catalogue.encoder()
    if own is not None and catalogue.counts()[0]:
        asked = _disagreement(own, options)
        if asked:
            raise _mismatch(library, own, asked)
        return own
    return resolve(
        options.model or "auto",
        pooling=options.pooling,
        weights=options.weights,
        preprocessing=options.preprocessing,
        show_output=options.show_output,
    )


def _disagreement(own: EncoderSpec, options: IndexOptions) -> str:
    """What the options ask for that the library's encoder is not; empty where they agree."""
    model = options.model or "auto"
    if model.lower().endswith(FILE_SUFFIXES):
        path = Path(absolute(model))
        if own.model != "file" or not path.is_file() or sha256_of(path) != own.weights_sha256:
            return f"the network {model}"
    elif model != "auto" and model.lower() != own.model:
        return network_named(model).name
    if options.pooling not in (None, own.pooling):
        return f"{own.model} with {options.pooling} pooling"
    if options.weights is not None:
        path = Path(absolute(options.weights))
        if not path.is_file() or sha256_of(path) != own.weights_sha256:
            return f"{own.model} with the weights {path}"
    return ""


def _mismatch(library: Library, own: EncoderSpec, asked: str) -> EncoderMismatch:
    return EncoderMismatch(
        f"The library {library.folder} was built with {own.title}, and {asked} was asked for.",
        "Leave out --model, --pooling and --weights to go on with its own, or choose another "
        "--library for the new one.",
    )


def _is_empty(root: str) -> bool:
    try:
        return os.path.isdir(root) and not os.listdir(root)
    except OSError:
        return False  # not listable; the walk tells


def _present(catalogue: Catalogue, roots: Sequence[str], report: IndexReport) -> list[str]:
    """The roots that are there.  Known ones that are missing are reported, unknown ones refused."""
    known = {root.path: root for root in catalogue.roots()}
    present = []
    for root in roots:
        raw = os.fsencode(root)
        try:
            status = os.stat(root)
        except OSError as error:
            holds = next(catalogue.under(raw), None)
            if raw in known or holds:
                report.missing_roots.append(root)
                continue
            raise PathNotFound(
                f"{root} is not there.", "Check the path; nothing was changed."
            ) from error
        before = known.get(raw)
        if before and _is_empty(root) and before[1:] != (status.st_dev, status.st_ino):
            # the empty folder that a disk was mounted on, not the folder that was indexed
            report.missing_roots.append(root)
            continue
        present.append(root)
    return present
