"""``parecido explain``: which places of two pictures make them match."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options, print_json, quiet_decoders
from parecido.indexer.system.text import printable
from parecido.search.commands.output import standard_input
from parecido.search.commands.shared import device_option

__all__ = ["explain_command"]


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
    from parecido.search.explaining.explanation import (
        GivenPicture,
        explain_views,
        explanation_dict,
        view_pictures,
    )

    if output:
        from parecido.search.sheets.canvas import check_target

        check_target(output)
    part = Region.parse(region) if region is not None else None
    source = standard_input() if query == "-" else query
    with Library.open(library) as opened, Engine(opened, device=device) as engine:
        with quiet_decoders():
            one, other = view_pictures(engine, [GivenPicture(source, part), GivenPicture(hit)])
        found = explain_views(engine, one, other)
    if as_json:
        print_json(explanation_dict(found))
    else:
        click.echo(f"{found.why.score:.3f}  {printable(query)}  {printable(hit)}")
    if output:
        from parecido.search.explaining.sheet import draw_pair
        from parecido.search.sheets.canvas import save

        with quiet_decoders():
            drawn = draw_pair(one.data, other.data, found)
        save(drawn, output)
        click.echo(f"picture written to {printable(output)}", err=True)
