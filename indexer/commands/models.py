"""``parecido models``: the encoders, and whether their weights are here."""

from __future__ import annotations

import sys

import click

from parecido.indexer.commands.terminal import debug_option, print_json
from parecido.indexer.system.text import printable

__all__ = ["models_command"]


@click.command("models")
@click.option("--fetch", metavar="NAME", help="Get the weights of an encoder beforehand.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one encoder a line.")
@debug_option
def models_command(fetch: str | None, as_json: bool) -> None:
    """List the encoders, and whether their weights are here."""
    from dataclasses import asdict

    from parecido.indexer.encoders.registry import model_table
    from parecido.indexer.encoders.weights import fetch as fetch_weights

    if fetch:
        weights = fetch_weights(fetch, show_output=sys.stderr.isatty())
        click.echo(f"{fetch}: {printable(str(weights))}")
        return
    table = model_table()
    if as_json:
        for model in table:
            print_json({**asdict(model), "available": bool(model.weights)})
        return
    click.echo(f"{'name':<20}{'dimension':>9}{'pixels':>8}  {'weights':<9}poolings")
    for model in table:
        here = "here" if model.weights else "-"
        click.echo(
            f"{model.name:<20}{model.dimension:>9}{model.native:>8}  {here:<9}"
            f"{', '.join(model.poolings)}"
        )
    click.echo(
        "\nWeights that are not here are downloaded on first use, or with --fetch NAME.", err=True
    )
