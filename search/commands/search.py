"""``parecido search``: the pictures most like given ones.  No logic: options in, words out."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from parecido.indexer.commands.terminal import common_options, fail, quiet_decoders
from parecido.indexer.records.choices import TOGETHER
from parecido.indexer.system.text import printable
from parecido.search.commands.filters import CHANCE, SAME, filter_options
from parecido.search.commands.output import Show, first_picture, standard_input
from parecido.search.commands.shared import device_option, json_option

if TYPE_CHECKING:
    from parecido.indexer.errors import ParecidoError
    from parecido.search.asking.ask import Ask
    from parecido.search.engine import Engine
    from parecido.search.results import Results

__all__ = ["search_command"]


@click.command("search")
@click.argument("images", metavar="[IMAGE...]", nargs=-1, type=click.Path())
@click.option(
    "-k",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many hits.  [default: 10]",
)
@click.option(
    "--min-score", type=click.FloatRange(-1, 1), metavar="X", help="Leave out lower cosines."
)
@click.option(
    "--max-chance",
    metavar="X",
    type=CHANCE,
    help="Leave out what more than X pictures of the library would score by chance: thing (the "
    "same), kind (the same), or a number; picture leaves only copies of the same one, told by its "
    "pixels.",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    help="Search for this part of the picture, in pixels or percent: 10%,20%,50%,50%.",
)
@click.option("--within", is_flag=True, help="Look for it as a part of pictures, too.")
@click.option("--any-orientation", is_flag=True, help="However turned or mirrored.")
@click.option(
    "--together",
    type=click.Choice(TOGETHER),
    help="Make one query of all pictures: like all of them, or like any one.",
)
@click.option(
    "--like",
    metavar="IMAGE",
    multiple=True,
    type=click.Path(),
    help="One more picture to be like, together with the others; repeatable.",
)
@click.option(
    "--unlike",
    metavar="IMAGE",
    multiple=True,
    type=click.Path(),
    help="A picture that hits should have nothing of; repeatable.",
)
@filter_options
@click.option(
    "--expand/--no-expand",
    default=None,
    help="Compare what pictures have in common with their neighbours.  [default: as the library "
    "was told, off for most]",
)
@click.option(
    "--rerank/--no-rerank",
    default=None,
    help="Put those first that share neighbours with the query.  [default: the same]",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Look at every picture, however large the library.",
)
@click.option("--include-self", is_flag=True, help="Let an indexed picture find itself.")
@json_option
@click.option("--paths", "as_paths", is_flag=True, help="Print paths only, one a line.")
@click.option("-0", "--null", is_flag=True, help="With --paths: end each with NUL, for xargs -0.")
@click.option(
    "--sheet", metavar="OUT.png", type=click.Path(), help="Write query and hits as one picture."
)
@click.option(
    "--why",
    metavar="OUT.png",
    type=click.Path(),
    help="Write query and hits with the places that made them match.",
)
@device_option
@common_options
def search_command(
    images: tuple[str, ...],
    as_json: bool,
    as_paths: bool,
    null: bool,
    sheet: str | None,
    why: str | None,
    device: str,
    library: str | None,
    **given: Any,
) -> None:
    """Find the pictures most like a picture.

    IMAGE is a picture file, - for standard input, or an indexed path, whose stored descriptor is
    used and which is left out of its own hits.  Several are several queries, unless --together,
    --like or --unlike makes one of them.  Without any, --label alone finds what shows a thing.
    """
    if as_json and as_paths:
        raise click.UsageError("--json and --paths exclude each other.")
    if null and not as_paths:
        raise click.UsageError("-0 goes with --paths.")
    if sheet and why and os.path.realpath(sheet) == os.path.realpath(why):
        raise click.UsageError("--sheet and --why need a file each.")
    show = Show(as_json, as_paths, b"\0" if null else b"\n")
    if not images and not given["like"] and not given["unlike"]:
        if given["label"] is None:
            raise click.UsageError("Missing argument 'IMAGE...', or a --label.")
        _search_by_label(given, show, sheet or why, library)
        return
    from parecido.indexer.errors import PathNotFound, PictureUnreadable
    from parecido.indexer.library.library import Library
    from parecido.search.asking.notes import note_path
    from parecido.search.engine import Engine

    if sheet:
        from parecido.search.sheets.sheet import check_target

        check_target(sheet)
    if why:
        from parecido.search.sheets.canvas import check_target as check_drawing

        check_drawing(why)
    asks, more = _asks(images, given)
    failed = False
    answered: list[tuple[Results, bytes | str]] = []
    with Library.open(library) as opened, Engine(opened, device=device) as engine:
        if more["wanted"].classes is not None:
            from parecido.search.asking.words import require_labels

            require_labels(opened)
        for ask in asks:
            try:
                with quiet_decoders():
                    results = engine.ask(ask, **more)
            except (PathNotFound, PictureUnreadable) as error:
                # one bad query among many is told, and the rest answered
                failed = True
                _fail_query(ask.name, error)
                continue
            note = note_path(opened, more["wanted"], len(results))
            results = replace(results, note=note)
            show(results)
            answered.append((results, first_picture(ask)))
        if answered:
            _write_pictures(engine, answered, sheet, why)
    if failed:
        raise SystemExit(1)


def _asks(images: tuple[str, ...], given: dict[str, Any]) -> tuple[list[Ask], dict[str, Any]]:
    """The queries that the options ask for, and what goes for all of them."""
    from parecido.indexer.records.regions import Region
    from parecido.search.asking.ask import Ask
    from parecido.search.commands.filters import filter_of

    like, unlike, together = given.pop("like"), given.pop("unlike"), given.pop("together")
    region = Region.parse(text) if (text := given.pop("region")) is not None else None
    turned = given.pop("any_orientation")
    sources = [standard_input() if one == "-" else one for one in (*images, *like)]
    is_one = together or like or unlike
    groups = [tuple(sources)] if is_one else [(source,) for source in sources]
    asks = [Ask(group, unlike, together or "mean", region, turned) for group in groups]
    for ask in asks:
        ask.check()
    wanted = filter_of(given)
    if given["max_chance"] == SAME:
        given.update(max_chance=None, same=True)
    return asks, {**given, "wanted": wanted}


def _write_pictures(
    engine: Engine,
    answered: list[tuple[Results, bytes | str]],
    sheet: str | None,
    why: str | None,
) -> None:
    with quiet_decoders():
        if sheet:
            from parecido.search.sheets.sheet import write_sheet

            write_sheet(answered, sheet)
            click.echo(f"sheet written to {printable(sheet)}", err=True)
        if why:
            from parecido.search.explaining.sheet import write_reasons

            write_reasons(engine, answered, why)
            click.echo(f"reasons written to {printable(why)}", err=True)


def _search_by_label(
    given: dict[str, Any], show: Show, drawn: str | None, library: str | None
) -> None:
    """The pictures that show a thing, the likeliest first."""
    pictorial = {
        "min_score": "--min-score",
        "max_chance": "--max-chance",
        "region": "--region",
        "within": "--within",
        "any_orientation": "--any-orientation",
        "together": "--together",
        "expand": "--expand",
        "rerank": "--rerank",
        "exact": "--exact",
        "include_self": "--include-self",
    }
    for name, option in pictorial.items():
        if given[name] not in (None, False, ()):
            raise click.UsageError(f"{option} needs a picture to compare with.")
    if drawn:
        raise click.UsageError("Without a picture there is nothing to draw beside the hits.")
    from time import perf_counter

    from parecido.indexer.library.library import Library
    from parecido.search.asking.notes import note_path
    from parecido.search.asking.words import search_labels
    from parecido.search.commands.filters import filter_of
    from parecido.search.results import Results

    started, word = perf_counter(), given["label"]
    wanted = filter_of(given)
    with Library.open(library) as opened:
        hits = search_labels(opened, wanted, k=given["k"])
        spec = opened.encoder
        took = (perf_counter() - started) * 1000
        note = note_path(opened, wanted, len(hits))
    results = Results(word, spec.title if spec else "", took, hits, note)
    show(results)


def _fail_query(image: str, error: ParecidoError) -> None:
    from parecido.indexer.errors import PictureUnreadable

    if isinstance(error, PictureUnreadable):
        fail(f"{image} cannot be searched for: {error.reason}.", "Give a picture that opens.")
    else:
        fail(error.message, error.remedy)
