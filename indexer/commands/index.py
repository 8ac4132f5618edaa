"""``parecido index``: add pictures, and follow what changed, moved or went.

Heavy imports stand inside the commands, here and beside: ``parecido --help`` must not pay for them.
"""

from __future__ import annotations

import math
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from parecido.indexer.commands.terminal import common_options, fail, print_json, quiet_decoders
from parecido.indexer.records.choices import (
    DEVICES,
    DIMENSIONS,
    FILTERS,
    POOLINGS,
    PRECISIONS,
    PREPROCESSINGS,
    QUALITIES,
    SIZES,
)
from parecido.indexer.system.text import plural, printable, relative

if TYPE_CHECKING:
    from parecido.indexer.indexing.plan import Progress
    from parecido.indexer.records.runs import IndexReport

__all__ = ["index_command"]

_SHOWN = 10
_SHOWN_NAMES = 3


@click.command("index")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--model",
    metavar="NAME",
    help="Encoder: a name that `parecido models` lists, a network FILE.keras, or auto.  "
    "[default: the library's own; auto for a new one]",
)
@click.option(
    "--quality",
    type=click.Choice(QUALITIES),
    help="How much to find for how much time; best also thinks twice about every search.  "
    "[default: the library's own; balanced for a new one]",
)
@click.option("--weights", metavar="FILE", type=click.Path(), help="Other weights for --model.")
@click.option(
    "--pooling",
    type=click.Choice(POOLINGS),
    help="How the feature map becomes a descriptor; fc1 and fc2 are VGG's.  [default: rgem for "
    "EfficientNet-Lite, avg for others]",
)
@click.option(
    "--size",
    metavar="N|WxH",
    help=f"Pixels at which pictures enter the network: {SIZES[0]} keeps their shapes, {SIZES[1]} "
    "squeezes them.  [default: 256 for EfficientNet-Lite, the network's own for others]",
)
@click.option(
    "--resample",
    type=click.Choice(FILTERS),
    help="How pictures are brought to size.  [default: bicubic]",
)
@click.option(
    "--preprocessing",
    type=click.Choice(PREPROCESSINGS),
    help="Input of a network of your own: RGB in 0..255, or as Keras prepares it.  [default: none]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Arithmetic inside the network.  half: 16 bits, twice as fast on GPUs and on processors "
    "with AMX.  int8: 8 bits on a CPU, calibrated on the first pictures of a new library; needs "
    "parecido[int8].  [default: the library's own; for a new one half on a GPU, else float32]",
)
@click.option(
    "--dimension",
    metavar="|".join(("N", *DIMENSIONS)),
    help="Numbers of a picture that are compared, in a space learned from the library; full: all, "
    "as the network gives them.  [default: as before; auto, 128 or 256, for a new library]",
)
@click.option(
    "--think-twice/--no-think-twice",
    default=None,
    help="Let searches expand and re-rank unless told otherwise, and keep the neighbours that this "
    "needs.  [default: as before; for a new library with --quality best]",
)
@click.option(
    "--within/--no-within",
    default=None,
    help="Keep descriptors of parts of pictures too, for search --within; 8 kB a picture.  "
    "[default: as before; --no-within for a new library]",
)
@click.option(
    "--exact/--no-exact",
    default=None,
    help="Keep an exhaustive vector index at any size, or the one that suits the size.  "
    "[default: as before; --no-exact for a new library]",
)
@click.option(
    "--exclude",
    metavar="GLOB",
    multiple=True,
    help="Leave out what matches, as in a .gitignore; repeatable.  The folder keeps it for later "
    "runs.",
)
@click.option(
    "--include",
    metavar="GLOB",
    multiple=True,
    help="Take in what matches, whatever leaves it out; repeatable, and kept as well.",
)
@click.option(
    "--hidden", is_flag=True, help="Go into hidden folders too, not into what programs keep there."
)
@click.option(
    "--rehash",
    is_flag=True,
    help="Read every file, whatever its size and times say; what holds the same bytes as before is "
    "not decoded.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Threads that encode, each with a process that reads and decodes.  [default: one more "
    "than cores]",
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Pictures in a batch.  [default: the device's own]",
)
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option(
    "--max-megapixels",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=200.0,
    show_default=True,
    help="Skip larger pictures.",
)
@click.option(
    "--max-megabytes",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=512.0,
    show_default=True,
    help="Skip larger files.",
)
@click.option("--wait", is_flag=True, help="Wait for another writer instead of refusing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@common_options
def index_command(paths: tuple[str, ...], library: str | None, as_json: bool, **given: Any) -> None:
    """Add pictures, and follow what changed, moved or went.

    Folders are searched recursively; pictures are only read.  A run can be interrupted at any time
    and goes on where it stopped.

    Left out, unless named as a PATH: hidden names; what storage, systems and photo programs keep
    among pictures, as thumbnails (@eaDir), deleted files (#recycle, $RECYCLE.BIN) and snapshots;
    folders with a file .nomedia; and what a .parecidoignore names, as in a .gitignore.
    """
    from parecido.indexer.commands.progress import progress_bar, stop_on_signal
    from parecido.indexer.indexing.pipeline import IndexOptions, index
    from parecido.indexer.indexing.places.rules import read_rules
    from parecido.indexer.library.library import Library
    from parecido.indexer.library.summary import report_dict
    from parecido.indexer.pictures.decode import Limits

    limits = Limits(
        pixels=_whole(given.pop("max_megapixels")), bytes=_whole(given.pop("max_megabytes"))
    )
    terminal = sys.stderr.isatty()
    options = IndexOptions(limits=limits, show_output=terminal, **given)
    _check_there(paths, library)
    with Library.create(library) as opened, quiet_decoders(), stop_on_signal() as stop:
        bar: AbstractContextManager[Progress | None] = nullcontext()
        if terminal:
            # one of before is brought up to date by the run, and has no rules
            kept = {} if opened.catalogue.is_outdated else read_rules(opened.catalogue)
            bar = progress_bar(paths, options, opened.folder, kept)
        with bar as progress:
            report = index(opened, paths, options, progress=progress, stop=stop)
        pictures, folder = opened.catalogue.counts()[0], opened.folder
    if as_json:
        print_json(report_dict(report))
    else:
        _print_report(report, pictures, str(folder))
    for root in report.replaced_roots:
        fail(
            f"{root} holds hardly anything of what was indexed there (another drive?); it was left "
            "out, and its pictures were kept.",
            f"If it is the same: parecido relocate --force {root} {root}. If not, mount it "
            f"elsewhere, or drop the pictures of before: parecido remove {root}",
        )
    for note in report.remarks:
        fail(note)
    for root in report.missing_roots:
        fail(
            f"{root} is not there, or an empty folder lies in its place (an unplugged disk?); its "
            "pictures were kept.",
            f"To drop them: parecido remove {root}",
        )
    if report.interrupted:
        raise SystemExit(130)
    if report.missing_roots or report.replaced_roots:
        raise SystemExit(1)


def _whole(millions: float) -> int:
    if not math.isfinite(millions):
        raise click.UsageError(f"A limit must be a number, got {millions}.")
    return int(millions * 1e6)


def _check_there(paths: tuple[str, ...], library: str | None) -> None:
    """Refuse a mistyped path before a new library is made for it."""
    from parecido.indexer.errors import PathNotFound
    from parecido.indexer.library.layout import CATALOGUE, library_path
    from parecido.indexer.system.paths import absolute

    if (library_path(library) / CATALOGUE).exists():
        return
    for path in paths:
        if not os.path.lexists(absolute(path)):
            raise PathNotFound(f"{path} is not there.", "Check the path; nothing was changed.")


def _print_report(report: IndexReport, pictures: int, folder: str) -> None:
    if report.interrupted and not (report.added or report.updated or report.moved or report.looks):
        click.echo("Interrupted before anything was ready; the next run starts where this one did.")
        return
    counts = [
        f"{getattr(report, name):,} {name}"
        for name in ("added", "updated", "moved", "removed", "unchanged")
        if getattr(report, name)
    ] or ["nothing to do"]
    speed = f" ({report.pictures_per_second:.0f} pictures/s)" if report.added else ""
    if report.preparing_seconds >= 1:
        speed += f", {report.preparing_seconds:.0f} s of it to prepare the encoder"
    if report.interrupted:
        click.echo("Interrupted; what was ready is in the library, the next run goes on from here.")
    click.echo(f"{', '.join(counts)} in {report.seconds:.1f} s{speed}")
    if report.looks:
        click.echo(
            f"{plural(report.looks, 'picture')} of before read again: copies of them are known now"
        )
    for old, new in report.relocated:
        click.echo(f"What was indexed in {printable(old)} lies in {printable(new)} now.")
    for old, new in report.copied:
        click.echo(
            f"{printable(old)} is not there, and {printable(new)} holds copies of its pictures. If "
            f"it has moved: parecido relocate {printable(old)} {printable(new)}"
        )
    if report.redecoded:
        click.echo(f"{report.redecoded:,} of them decoded once more, as their formats are read now")
    if report.skipped:
        _print_skips(report)
    if report.notes:
        click.echo(f"{plural(len(report.notes), 'picture')} not whole:")
        _print_some([(note.path, note.note) for note in report.notes])
    if report.left_out:
        _print_left_out(report)
    click.echo(f"{plural(pictures, 'picture')} in {printable(relative(folder, os.getcwd()))}")


def _print_skips(report: IndexReport) -> None:
    kinds: dict[str, int] = {}
    for skip in report.skipped:
        kinds[skip.kind] = kinds.get(skip.kind, 0) + 1
    parts = [f"{count:,} {kind.replace('-', ' ')}" for kind, count in sorted(kinds.items())]
    click.echo(f"{plural(len(report.skipped), 'file')} skipped: {', '.join(parts)}")
    # films and notes among the pictures are expected; what looks like a picture and fails is news
    _print_some([(s.path, s.reason) for s in report.skipped if s.kind != "not-a-picture"])


def _print_some(told: list[tuple[str, str]]) -> None:
    """The first files of some, each with what is told of it."""
    for path, what in told[:_SHOWN]:
        click.echo(f"  {printable(relative(path, os.getcwd()))}: {printable(what)}")
    if len(told) > _SHOWN:
        click.echo(f"  … and {len(told) - _SHOWN:,} more; --json lists all")


def _print_left_out(report: IndexReport) -> None:
    from parecido.indexer.records.left_out import REASONS

    parts = []
    for one in report.left_out:
        counts = [(one.folders, "folder"), (one.files, "file")]
        what = " and ".join(plural(count, name) for count, name in counts if count)
        names = list(dict.fromkeys(map(os.path.basename, one.examples)))
        more = ", …" if len(names) > _SHOWN_NAMES else ""
        shown = printable(", ".join(names[:_SHOWN_NAMES]))
        parts.append(f"{what} {REASONS[one.reason]} ({shown}{more})")
    click.echo(f"Left out: {'; '.join(parts)}")
    if report.removed_by_rules:
        count = plural(report.removed_by_rules, "picture")
        click.echo(f"{count} removed because a rule leaves them out; the files stay.")
