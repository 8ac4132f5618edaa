"""The command that shows why two pictures match, and a sheet of it for a query and its hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from parecido.indexer.commands.terminal import common_options, print_json, quiet_decoders
from parecido.indexer.system.text import printable
from parecido.search.commands.output import standard_input
from parecido.search.commands.shared import device_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parecido.search.engine import Engine
    from parecido.search.explaining.explanation import Look
    from parecido.search.explaining.heat import Column
    from parecido.search.results import Hit, Results

__all__ = ["explain_command", "write_why"]

_MOST = 5  # hits of a query on a sheet


@click.command("explain")
@click.argument("query", type=click.Path())
@click.argument("hit", type=click.Path())
@click.option(
    "-o", "--output", metavar="OUT.png", type=click.Path(), help="Write a picture: PNG, JPEG, WebP."
)
@click.option("--json", "as_json", is_flag=True, help="Print what each place adds, as JSON.")
@click.option(
    "--region", metavar="X,Y,W,H", help="Only that part of QUERY; pixels, or each with %."
)
@device_option
@common_options
def explain_command(
    query: str,
    hit: str,
    output: str | None,
    as_json: bool,
    region: str | None,
    device: str,
    library: str | None,
) -> None:
    """Show which places of two pictures make them match.

    QUERY and HIT are picture files, indexed or not; QUERY may be - for standard input.  They are
    compared as the library compares pictures, and what its places add up to is the score.
    """
    if not output and not as_json:
        raise click.UsageError("Say where to draw it with -o OUT.png, or add --json.")
    from parecido.indexer.library.library import Library
    from parecido.indexer.records.regions import Region
    from parecido.search.engine import Engine
    from parecido.search.explaining.explanation import Given, explained, explanation_dict, look

    if output:
        from parecido.search.sheets.canvas import check_target

        check_target(output)
    part = Region.parse(region) if region is not None else None
    source = standard_input() if query == "-" else query
    with Library.open(library) as opened, Engine(opened, device=device) as engine:
        with quiet_decoders():
            one, other = look(engine, [Given(source, part), Given(hit)])
        found = explained(engine, one, other)
    if as_json:
        print_json(explanation_dict(found))
    else:
        click.echo(f"{found.why.score:.3f}  {printable(query)}  {printable(hit)}")
    if output:
        from parecido.search.explaining.heat import draw_pair
        from parecido.search.sheets.canvas import save

        with quiet_decoders():
            drawn = draw_pair(one.data, other.data, found)
        save(drawn, output)
        click.echo(f"picture written to {printable(output)}", err=True)


def write_why(
    engine: Engine, answered: Sequence[tuple[Results, bytes | str]], path: str, most: int = _MOST
) -> None:
    """Write a picture of the places that made queries and their first ``most`` hits match.

    The second of each pair is where the query's picture is: its bytes, or its path.  A hit that
    cannot be read any more is told in its place.  Raises ``InvalidRequest`` where the file cannot
    be written or is something else's, or where the encoder has no feature map.
    """
    from parecido.search.explaining.explanation import Given, look
    from parecido.search.explaining.heat import Band, draw_sheet
    from parecido.search.sheets.canvas import check_target, save

    check_target(path)  # before any work
    bands = []
    for results, source in answered:
        (query,) = look(engine, [Given(source)])
        columns = [_column(engine, query, hit) for hit in results.hits[:most]]
        bands.append(Band(results.query, query.data, columns))
    save(draw_sheet(bands), path)


def _column(engine: Engine, query: Look, hit: Hit) -> Column:
    from parecido.indexer.errors import PathNotFound, PictureUnreadable
    from parecido.search.explaining.explanation import Given, explained, look
    from parecido.search.explaining.heat import Column

    title = f"{hit.score:.3f}"
    try:
        (seen,) = look(engine, [Given(hit.path)])
    except (PathNotFound, PictureUnreadable):
        return Column(title, hit.path)
    return Column(title, hit.path, seen.data, explained(engine, query, seen))
