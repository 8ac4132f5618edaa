"""Index a library: which encoder, which roots, and then the run.

Everything encoded is committed about once a second in one transaction; a run that is killed loses
its last seconds and nothing else.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

from parecido.indexer.catalogue.changes import Change, Forget, Remove
from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.encoders.building.quantise import (
    CALIBRATION_FILES,
    check_can_quantise,
    drop_quantised,
    quantise,
    quantised_model,
)
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.networks.base import sha256_of
from parecido.indexer.encoders.presets import quality_named, sized
from parecido.indexer.encoders.registry import FILE_SUFFIXES, network_named, resolve
from parecido.indexer.encoders.runtimes.openvino import exported
from parecido.indexer.errors import EncoderMismatch, InvalidRequest, ParecidoError, PathNotFound
from parecido.indexer.indexing.options import IndexOptions, check_dimension
from parecido.indexer.indexing.run import Progress, Run
from parecido.indexer.library.library import Library, writing_folder
from parecido.indexer.library.upkeep import is_settled, settle
from parecido.indexer.pictures.decode import pillow_limit
from parecido.indexer.pictures.walk import Walk
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.runs import IndexReport
from parecido.indexer.regional.source import check_has_regions, remove_region_files
from parecido.indexer.system.paths import SEPARATOR, absolute, signed64, within

__all__ = ["IndexOptions", "index", "remove"]

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
    writer: CatalogueWriter | None = None,
) -> IndexReport:
    """Bring the library up to date with the pictures at these paths.

    Folders are searched recursively.  What is unchanged costs a look at its size and time; what
    moved keeps its id; what is gone from below these folders leaves the library.  No picture is
    ever written to.  ``progress`` is called with the running report now and then; when ``stop``
    returns true, what is ready is committed and the run ends with ``interrupted`` set.  A
    ``writer`` is the library's, whose lock the caller holds; without one it is taken here.

    Raises :class:`~parecido.EncoderMismatch` where the options name another encoder than the
    library's, :class:`~parecido.PathNotFound` for a path that is not there,
    :class:`~parecido.LibraryBusy`, ``LibraryReadOnly``, ``NoSpace``, or an encoder's errors.
    """
    options = options or IndexOptions()
    check_dimension(options.dimension)
    if options.workers < 0 or options.batch_size < 0:
        raise InvalidRequest("Workers and batch size must be 0 (automatic) or more.")
    roots = [absolute(path) for path in _several(paths)]
    if not roots:
        raise InvalidRequest("No path was given.", "Name at least one folder or picture.")
    try:
        with _writing(library, writer, options.wait, stop) as catalogue:
            return _index(library, catalogue, roots, options, encoder, progress, stop)
    except ParecidoError:
        # Ctrl-C reaches a child that prepares the encoder too, and ends waiting for the lock; what
        # fails then is not the news
        if stop():
            return IndexReport(interrupted=True)
        raise


def _index(
    library: Library,
    catalogue: CatalogueWriter,
    roots: Sequence[str],
    options: IndexOptions,
    encoder: Encoder | None,
    progress: Progress | None,
    stop: Callable[[], bool],
) -> IndexReport:
    started = time.monotonic()
    spec = encoder.spec if encoder else _choose(catalogue, options, library)
    own = catalogue.settings.encoder()
    if own and own.fingerprint != spec.fingerprint and catalogue.counts()[0]:
        raise _mismatch(library, own, spec.title)
    regional = catalogue.settings.keeps_regions() if options.within is None else options.within
    if regional:
        check_has_regions(spec)
    report = IndexReport()
    present, new_roots, absent = _look_at_roots(catalogue, roots, report, options.hidden)
    # a root in the library's own folder is walked when it is named, and never from above
    own_folder = os.fsencode(library.folder)
    for root in catalogue.roots():
        if within(root.path, own_folder) and os.fsdecode(root.path) not in present:
            absent.append(root.path)
    preparing = time.monotonic()
    spec = _with_its_model(spec, library, catalogue, present, options, stop)
    preparing = time.monotonic() - preparing
    if options.exact is not None and options.exact != catalogue.settings.keeps_exact_index():
        catalogue.keep_exact_index(options.exact)
    told = (
        options.dimension is not None and str(options.dimension) != catalogue.settings.dimension()
    )
    if told:
        catalogue.ask_dimension(str(options.dimension))
    think_twice = options.think_twice
    if think_twice is None and options.quality is not None:
        think_twice = quality_named(options.quality).thinks_twice
    if think_twice is not None and think_twice != catalogue.settings.thinks_twice():
        catalogue.think_twice(think_twice)
        told = True
    if regional != catalogue.settings.keeps_regions():
        remove_region_files(library.folder)  # no older one may pass for an index of these regions
        catalogue.keep_regions(regional)
        told = True
    saved = 0

    def save_now_and_then() -> None:
        nonlocal saved
        if report.added + report.updated - saved >= _SAVE_EVERY:
            saved = report.added + report.updated
            settle(library, catalogue)

    run = Run(
        catalogue,
        spec,
        encoder,
        options,
        report,
        progress,
        stop,
        new_roots,
        absent,
        committed=save_now_and_then,
        folder=library.folder,
    )
    with pillow_limit(options.limits):
        run.all(Walk(present, options.exclude, options.hidden, library.folder))
    report.preparing_seconds += preparing
    if run.committed_anything or told or not is_settled(library, catalogue):
        settle(library, catalogue, hurry=report.interrupted)
    report.seconds = time.monotonic() - started
    return report


def _writing(
    library: Library,
    writer: CatalogueWriter | None,
    wait: bool,
    stop: Callable[[], bool] = lambda: False,
) -> AbstractContextManager[CatalogueWriter]:
    return library.writer(wait=wait, stop=stop) if writer is None else nullcontext(writer)


def _several(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
) -> list[str | os.PathLike[str]]:
    """One path is a list of one, not of its characters."""
    return [paths] if isinstance(paths, (str, bytes, os.PathLike)) else list(paths)


def remove(
    library: Library,
    paths: Iterable[str | os.PathLike[str]],
    *,
    wait: bool = False,
    along: Sequence[Change] = (),
    writer: CatalogueWriter | None = None,
) -> int:
    """Take the pictures at these paths, or below them, out of the library; how many there were.

    The files themselves are not touched.  ``along`` are changes of the same transaction, and
    ``writer`` is as for :func:`index`.  Raises :class:`~parecido.PathNotFound` where the
    library holds nothing at a path.
    """
    with _writing(library, writer, wait) as catalogue:
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
        settle(library, catalogue)
        return len(ids)


def _choose(catalogue: Catalogue, options: IndexOptions, library: Library) -> EncoderSpec:
    """The library's own encoder, or for a library without pictures the one that is asked for."""
    own = catalogue.settings.encoder()
    if own is not None and catalogue.counts()[0]:
        asked = _disagreement(own, options)
        if asked:
            raise _mismatch(library, own, asked)
        return _with_given_file(own, options)
    int8 = options.precision == "int8"
    if int8:
        check_can_quantise(options.device)
    spec = resolve(
        options.model or "auto",
        pooling=options.pooling,
        weights=options.weights,
        preprocessing=options.preprocessing,
        precision="float32" if int8 else options.precision or "auto",
        size=options.size,
        resample=options.resample,
        quality=options.quality,
        show_output=options.show_output,
    )
    return replace(spec, precision="int8") if int8 else spec  # not calibrated yet


def _with_its_model(
    spec: EncoderSpec,
    library: Library,
    catalogue: Catalogue,
    present: Sequence[str],
    options: IndexOptions,
    stop: Callable[[], bool],
) -> EncoderSpec:
    """The spec; of an int8 encoder that is not calibrated yet, calibrated on what lies there.

    In a library without pictures, a quantised model that another encoder left is removed.
    """
    if catalogue.counts()[0]:
        return spec
    own = catalogue.settings.encoder()
    if spec.precision != "int8":
        drop_quantised(library.folder, own.calibration if own else "")
        return spec
    if spec.calibration:  # of an encoder that was given ready
        quantised_model(spec, library.folder)
        return spec
    walk = Walk(present, options.exclude, options.hidden, library.folder)
    files = [Path(os.fsdecode(entry.path)) for entry in islice(walk, CALIBRATION_FILES)]
    drop_quantised(library.folder, own.calibration if own else "")
    plain = replace(spec, precision="float32")
    with pillow_limit(options.limits), writing_folder(library.folder):
        return quantise(plain, exported, files, library.folder, options.limits, stop)


def _disagreement(own: EncoderSpec, options: IndexOptions) -> str:
    """What the options ask for that the library's encoder is not; empty where they agree."""
    model = options.model or "auto"
    if model.lower().endswith(FILE_SUFFIXES):
        path = Path(absolute(model))
        if own.model != "file" or not path.is_file() or sha256_of(path) != own.weights_sha256:
            return f"the network {model}"
    elif model != "auto" and model.lower() != own.model:
        return network_named(model).name
    if options.preprocessing not in (None, own.preprocessing):
        return f"{own.model} with {options.preprocessing} preprocessing"
    if options.precision not in (None, "auto", own.precision):
        return f"{own.model} in {options.precision}"
    if options.pooling not in (None, own.pooling):
        return f"{own.model} with {options.pooling} pooling"
    if options.resample not in (None, own.resample):
        return f"{own.model} with {options.resample} resampling"
    if options.size is not None and sized(own.size, options.size, own.model) != own.size:
        return f"{own.model} at {options.size} pixels"
    if options.quality is not None and model == "auto":
        wanted = resolve(quality=options.quality, pooling=options.pooling, size=options.size)
        if (wanted.model, wanted.size) != (own.model, own.size):
            return f"the {options.quality} quality ({wanted.title})"
    if options.weights is not None:
        path = Path(absolute(options.weights))
        if not path.is_file() or sha256_of(path) != own.weights_sha256:
            return f"{own.model} with the weights {path}"
    return ""


def _with_given_file(own: EncoderSpec, options: IndexOptions) -> EncoderSpec:
    """The library's encoder, its file at the place that the options name (the same bytes)."""
    model = options.model or ""
    given = model if model.lower().endswith(FILE_SUFFIXES) else options.weights
    return replace(own, weights_file=absolute(given)) if given else own


def _mismatch(library: Library, own: EncoderSpec, asked: str) -> EncoderMismatch:
    return EncoderMismatch(
        f"The library {library.folder} was built with {own.title}, and {asked} was asked for.",
        "Leave out what names an encoder (--model, --quality, --size, --pooling and the like) to "
        "go on with its own, or choose another --library for the new one.",
    )


def _look_at_roots(
    catalogue: Catalogue, roots: Sequence[str], report: IndexReport, hidden: bool
) -> tuple[list[str], list[Root], list[bytes]]:
    """Which roots can be walked, which of these are new, and below which places nothing is gone.

    A known root that is missing is reported; an unknown one is refused.  A place where nothing
    counts as gone is any known root that is absent, and one hidden from this run's walk.
    """
    known = {root.path: root for root in catalogue.roots()}
    absent = [path for path, root in known.items() if _is_absent(catalogue, root)]
    present, new = [], []
    for path in dict.fromkeys(roots):
        raw = os.fsencode(path)
        try:
            status = os.stat(path)
        except OSError as error:
            if raw in known or next(catalogue.under(raw), None):
                report.missing_roots.append(path)
                absent.append(raw)
                continue
            raise PathNotFound(
                f"{path} is not there.", "Check the path; nothing was changed."
            ) from error
        if raw in absent:
            report.missing_roots.append(path)
            continue
        present.append(path)
        root = Root(raw, signed64(status.st_dev), signed64(status.st_ino))
        if known.get(raw) != root and not _is_followed(raw, status, known):
            new.append(root)
    for raw in absent:
        shown = os.fsdecode(raw)
        walked = any(within(raw, os.fsencode(folder)) for folder in present)
        if walked and shown not in report.missing_roots:
            report.missing_roots.append(shown)
    if not hidden:
        absent += [raw for raw in known if _is_hidden(raw, present)]
    return present, new, absent


def _is_followed(path: bytes, status: os.stat_result, known: Iterable[bytes]) -> bool:
    """Whether a path is a single file that the walk of a known folder comes to anyway."""
    if not stat.S_ISREG(status.st_mode):
        return False
    folders = [os.fsdecode(root) for root in known if root != path and within(path, root)]
    return any(not _is_hidden(path, [folder]) for folder in folders)


def _is_absent(catalogue: Catalogue, root: Root) -> bool:
    """Whether a known root is an unplugged disk rather than an emptied or deleted thing."""
    try:
        status = os.stat(root.path)
        if not os.path.isdir(root.path) or os.listdir(root.path):
            return False
    except FileNotFoundError:
        # a single picture that was given as a root is simply gone when its folder is there
        path = os.fsdecode(root.path)
        return catalogue.picture_at(path) is None or not os.path.isdir(os.path.dirname(path))
    except OSError:
        return False  # it cannot be listed, which the walk tells
    # the empty folder that a disk was mounted on is another one than the folder that was indexed
    return (signed64(status.st_dev), signed64(status.st_ino)) != (root.device, root.inode)


def _is_hidden(path: bytes, walked: Sequence[str]) -> bool:
    """Whether a known root lies in a hidden folder below a walked one, and is not walked itself."""
    if os.fsdecode(path) in walked:
        return False
    for root in walked:
        folder = os.fsencode(root)
        if within(path, folder) and SEPARATOR + b"." in path[len(folder.rstrip(SEPARATOR)) :]:
            return True
    return False
