"""``parecido verify``: whether a library is sound, and its repair."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options, fail, print_json
from parecido.indexer.system.text import plural, printable

__all__ = ["verify_command"]


@click.command("verify")
@click.option("--repair", is_flag=True, help="Drop what is damaged, and read those pictures again.")
@click.option("--wait", is_flag=True, help="Wait for another writer instead of refusing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def verify_command(library: str | None, repair: bool, wait: bool, as_json: bool) -> None:
    """Check a library from top to bottom.

    Every row has a digest; the vector index and other caches are compared, too.
    """
    from parecido.indexer.checkup.repair import repair as mend
    from parecido.indexer.checkup.verify import verify
    from parecido.indexer.library.library import Library

    done = mend(library, wait=wait) if repair else []
    with Library.open(library) as opened:
        problems = verify(opened)
        aside = [] if problems else opened.catalogue.aside.list_aside()
    if as_json:
        told = {"ok": not problems, "problems": [p.what for p in problems], "repaired": done}
        print_json({**told, **({"set_aside": [one.path for one in aside]} if aside else {})})
    else:
        for line in done:
            click.echo(line)
        for one in aside:
            click.echo(f"{printable(one.path)} is set aside until it can be read ({one.reason})")
        for problem in problems:
            click.echo(problem.what)
        if not problems:
            click.echo("The library is sound.")
    if problems:
        if any(problem.repairable for problem in problems):
            fail(f"{plural(len(problems), 'problem')} found.", "Mend: parecido verify --repair")
        raise SystemExit(1)
