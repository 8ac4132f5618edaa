"""``parecido remove``: take pictures out of a library."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options
from parecido.indexer.system.text import plural

__all__ = ["remove_command"]


@click.command("remove")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option("--wait", is_flag=True, help="Wait for another writer instead of refusing.")
@common_options
def remove_command(paths: tuple[str, ...], library: str | None, wait: bool) -> None:
    """Take pictures out of the library; the files stay."""
    from parecido.indexer.indexing.pipeline import remove
    from parecido.indexer.library.library import Library

    with Library.open(library) as opened:
        count = remove(opened, paths, wait=wait)
    click.echo(f"{plural(count, 'picture')} removed from the library; no file was touched.")
