"""Index a library: which encoder, which roots, and then the run.

Everything encoded is committed about once a second in one transaction; a run that is killed loses
its last seconds and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from parecido.indexer.catalogue.changes import Change, Forget, Remove
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.presets import find_quality
from parecido.indexer.errors import InvalidRequest, ParecidoError, PathNotFound
from parecido.indexer.indexing.additions.looks import add_looks
from parecido.indexer.indexing.encoder_choice import calibrate, check_encoder
from parecido.indexer.indexing.options import IndexOptions, check_dimension
from parecido.indexer.indexing.places.roots import Roots
from parecido.indexer.indexing.plan import Hooks, Plan, Progress, plan_run
from parecido.indexer.indexing.prepare import read_pixels
from parecido.indexer.indexing.run import Run
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date, is_up_to_date
from parecido.indexer.library.writing import Writing
from parecido.indexer.records.runs import IndexReport
from parecido.indexer.system.paths import absolute, within

__all__ = ["IndexOptions", "index", "index_into", "read_again", "remove", "remove_from"]

# Searches hold what is not in the vector index's file in memory, so a long run writes it in
# between: a second each time for a million pictures, and adding so many takes a minute.
_SAVE_EVERY = 16_384


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
    ever written to.  ``progress`` is called with the running report now and then; when ``stop``
    returns true, what is ready is committed and the run ends with ``interrupted`` set.

    Raises :class:`~parecido.EncoderMismatch` where the options name another encoder than the
    library's, :class:`~parecido.PathNotFound` for a path that is not there,
    :class:`~parecido.LibraryBusy`, ``LibraryReadOnly``, ``NoSpace``, or an encoder's errors.
    """
    options = options or IndexOptions()
    roots = _check(paths, options)
    hooks = Hooks(stop=stop) if progress is None else Hooks(progress, stop)

    def run() -> IndexReport:
        with library.writer(wait=options.wait, stop=stop) as writing:
            return _index(writing, roots, options, encoder, hooks)

    return _report_interruption(run, stop)


def index_into(
    writing: Writing,
    paths: Iterable[str | os.PathLike[str]],
    options: IndexOptions,
    encoder: Encoder | None,
    hooks: Hooks,
) -> IndexReport:
    """As :func:`index`, by who holds the library's lock already."""
    roots = _check(paths, options)
    return _report_interruption(lambda: _index(writing, roots, options, encoder, hooks), hooks.stop)


def read_again(writing: Writing, paths: Sequence[bytes], encoder: Encoder | None) -> IndexReport:
    """Describe these files anew, which become no roots, by who holds the library's lock already.

    What is derived is not brought up to date.  Raises :class:`~parecido.PathNotFound` where a file
    went in the meantime, or an encoder's errors.
    """
    spec = encoder.spec if encoder is not None else writing.encoder
    assert spec is not None
    check_encoder(writing, spec)
    options = IndexOptions()
    roots = Roots(present=tuple(os.fsdecode(path) for path in paths))
    keeps = writing.catalogue.settings.keeps_regions()
    plan = Plan(spec, encoder, writing.folder, roots, options, keeps)
    return Run(writing.catalogue, plan, Hooks()).execute()


def _check(paths: Iterable[str | os.PathLike[str]], options: IndexOptions) -> list[str]:
    """The absolute paths, of a request that can be meant."""
    check_dimension(options.dimension)
    if options.workers < 0 or options.batch_size < 0:
        raise InvalidRequest("Workers and batch size must be 0 (automatic) or more.")
    roots = [absolute(path) for path in _several(paths)]
    if not roots:
        raise InvalidRequest("No path was given.", "Name at least one folder or picture.")
    return roots


def _report_interruption(run: Callable[[], IndexReport], stop: Callable[[], bool]) -> IndexReport:
    try:
        return run()
    except ParecidoError:
        # Ctrl-C reaches a child that prepares the encoder too, and ends waiting for the lock; what
        # fails then is not the news
        if stop():
            return IndexReport(interrupted=True)
        raise


def _index(
    writing: Writing,
    roots: list[str],
    options: IndexOptions,
    encoder: Encoder | None,
    hooks: Hooks,
) -> IndexReport:
    started = time.monotonic()
    plan = plan_run(writing, roots, options, encoder)
    preparing = time.monotonic()
    spec = calibrate(writing, plan.spec, plan.walk, partial(read_pixels, plan), hooks.stop)
    preparing = time.monotonic() - preparing
    told = _tell(writing, plan)
    saving = _SavingNowAndThen(writing)
    run = Run(writing.catalogue, replace(plan, spec=spec), replace(hooks, committed=saving))
    report = run.execute()
    report.preparing_seconds += preparing
    if not report.interrupted:
        report.looks = add_looks(writing, plan, hooks.stop)
        report.interrupted = hooks.stop()
    if run.committed_anything or told or not is_up_to_date(writing):
        bring_up_to_date(writing, hurry=report.interrupted)
    report.seconds = time.monotonic() - started
    return report


def _tell(writing: Writing, plan: Plan) -> bool:
    """Let the library remember what the options say; whether anything derived depends on it."""
    catalogue, options = writing.catalogue, plan.options
    settings = catalogue.settings
    if options.exact is not None and options.exact != settings.keeps_exact_index():
        catalogue.keep_exact_index(options.exact)
    told = False
    if options.dimension is not None and str(options.dimension) != settings.dimension():
        catalogue.ask_dimension(str(options.dimension))
        told = True
    rerank = options.think_twice
    if rerank is None and options.quality is not None:
        rerank = find_quality(options.quality).reranks_by_default
    if rerank is not None and rerank != settings.reranks_by_default():
        catalogue.rerank_by_default(rerank)
        told = True
    if plan.keeps_regions != settings.keeps_regions():
        writing.remove_regions()  # no older one may pass for an index of these regions
        catalogue.keep_regions(plan.keeps_regions)
        told = True
    return told


class _SavingNowAndThen:
    """Brings what is derived up to date after so many pictures of a long run."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._saved = 0

    def __call__(self, report: IndexReport) -> None:
        written = report.added + report.updated
        if written - self._saved >= _SAVE_EVERY:
            self._saved = written
            bring_up_to_date(self._writing)


def _several(given: Any) -> list[str | os.PathLike[str]]:
    """One path is a list of one, not of its characters.

    Raises :class:`~parecido.InvalidRequest` for pictures that lie in memory.
    """
    one = isinstance(given, (str, bytes, os.PathLike)) or not isinstance(given, Iterable)
    one = one or hasattr(given, "__array__") or hasattr(given, "read")
    paths: list[Any] = [given] if one else list(given)
    for path in paths:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise InvalidRequest(
                f"Expected a path, got {type(path).__name__}: a picture of a library is a file "
                "with a path.",
                "Save it, and give its path; a search takes pictures in memory.",
            )
    return paths


def remove(library: Library, paths: Iterable[str | os.PathLike[str]], *, wait: bool = False) -> int:
    """Take the pictures at these paths, or below them, out of the library; how many there were.

    The files themselves are not touched.  Raises :class:`~parecido.PathNotFound` where the
    library holds nothing at a path.
    """
    with library.writer(wait=wait) as writing:
        return remove_from(writing, paths)


def remove_from(
    writing: Writing, paths: Iterable[str | os.PathLike[str]], along: Sequence[Change] = ()
) -> int:
    """As :func:`remove`, by who holds the lock already; ``along`` joins the same transaction."""
    catalogue = writing.catalogue
    ids: list[int] = []
    forgotten: list[bytes] = []
    roots: list[bytes] = []
    for path in _several(paths):
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
        catalogue.write([*along, Remove(ids), Forget(forgotten)])
    catalogue.drop_roots(roots)
    bring_up_to_date(writing)
    return len(ids)
