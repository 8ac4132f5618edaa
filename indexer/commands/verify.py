"""``parecido verify``: whether a library is sound, and its repair."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options, fail, print_json
from parecido.indexer.system.text import plural

__all__ = ["verify_command"]


@click.command("verify")
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option("--wait", is_flag=True, help="Wait for another writer instead of refusing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def verify_command(library: str | None, repair: bool, wait: bool, as_json: bool) -> None:
    """Check a library from top to bottom."""
    from parecido.indexer.library.checkup.repair import repair as mend
    from parecido.indexer.library.checkup.verify import verify
    from parecido.indexer.library.library import Library

    done = mend(library, wait=wait) if repair else []
    with Library.open(library) as opened:
        problems = verify(opened)
    if as_json:
        print_json({"ok": not problems, "problems": [p.what for p in problems], "repaired": done})
    else:
        for line in done:
            click.echo(line)
        for problem in problems:
            click.echo(problem.what)
        if not problems:
            click.echo("The library is sound.")
    if problems:
        if any(problem.repairable for problem in problems):
            fail(f"{plural(len(problems), 'problem')} found.", "Mend: parecido verify --repair")
        raise SystemExit(1)
