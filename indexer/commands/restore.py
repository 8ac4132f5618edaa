"""``parecido restore``: a library made of a backup."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import debug_option, print_json
from parecido.indexer.system.text import plural, printable

__all__ = ["restore_command"]


@click.command("restore")
@click.argument("file", metavar="FILE", type=click.Path())
@click.argument("folder", metavar="FOLDER", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def restore_command(file: str, folder: str, as_json: bool) -> None:
    """Make a library of a backup in a new folder.

    Every digest is compared before anything is there.  Uploaded pictures come into the library's
    own folder; all others are looked for where they were.
    """
    from parecido.indexer.commands.progress import show_bytes
    from parecido.indexer.library.backup.restore import restore

    with show_bytes("restoring") as progress:
        made = restore(file, folder, progress=progress)
    if as_json:
        print_json(vars(made))
        return
    click.echo(
        f"{plural(made.pictures, 'picture')} and {plural(made.uploads, 'uploaded file')} in "
        f"{printable(made.path)}, in {made.seconds:.1f} s"
    )
