"""``parecido backup``: a library in one file."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options, fail, print_json
from parecido.indexer.system.text import plural, printable

__all__ = ["backup_command"]


@click.command("backup")
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Go on without uploaded pictures whose files are gone or were changed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def backup_command(file: str, library: str | None, allow_missing: bool, as_json: bool) -> None:
    """Copy the library into one file, while everything runs.

    The catalogue, uploaded pictures and a quantised network are in it; your own pictures, and what
    can be made again, are not.  Nothing is ever overwritten.
    """
    from parecido.indexer.commands.progress import show_bytes
    from parecido.indexer.library.backup.backup import backup
    from parecido.indexer.library.library import Library

    with Library.open(library) as opened, show_bytes("backing up") as progress:
        made = backup(opened, file, allow_missing=allow_missing, progress=progress)
    if made.missing:
        fail(f"{plural(len(made.missing), 'uploaded picture')} could not be had: {made.missing[0]}")
    if as_json:
        print_json(vars(made))
        return
    click.echo(
        f"{plural(made.pictures, 'picture')} and {plural(made.uploads, 'uploaded file')} in "
        f"{printable(made.path)}: {made.bytes / 1e6:,.1f} MB in {made.seconds:.1f} s"
    )
