"""``parecido relocate``: pictures that lie elsewhere by now."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options
from parecido.indexer.system.text import plural, printable

__all__ = ["relocate_command"]


@click.command("relocate")
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
@click.option("--force", is_flag=True, help="Believe it, although other files lie there.")
@click.option("--wait", is_flag=True, help="Wait for another writer instead of refusing.")
@common_options
def relocate_command(old: str, new: str, force: bool, library: str | None, wait: bool) -> None:
    """Tell the library that what lay in OLD lies in NEW now.

    Its pictures keep their ids, and nothing is encoded.  The next index sees what else has changed.
    """
    from parecido.indexer.indexing.places.relocation import relocate
    from parecido.indexer.library.library import Library

    with Library.open(library) as opened:
        count = relocate(opened, old, new, force=force, wait=wait)
    known = f"{plural(count, 'picture')} of {printable(old)} are known in {printable(new)} now"
    click.echo(f"{known}; no file was touched.")
