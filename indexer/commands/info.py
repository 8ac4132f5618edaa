"""``parecido info``: what a library holds, and how."""

from __future__ import annotations

import shlex

import click

from parecido.indexer.commands.terminal import common_options, print_json
from parecido.indexer.system.text import printable

__all__ = ["info_command"]

_SHOWN_ROOTS = 10


@click.command("info")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def info_command(library: str | None, as_json: bool) -> None:
    """Tell what a library holds and how."""
    from parecido.indexer.library.library import Library
    from parecido.indexer.library.summary import summarise

    with Library.open(library) as opened:
        facts = summarise(opened)
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {printable(_format_value(name, value))}")


def _format_value(name: str, value: object) -> str:
    if name == "rules" and isinstance(value, list):
        value = [_format_rules(**one) for one in value]
    if isinstance(value, list):
        more = f" and {len(value) - _SHOWN_ROOTS:,} more" if len(value) > _SHOWN_ROOTS else ""
        return ", ".join(map(str, value[:_SHOWN_ROOTS])) + more
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value / 1e6:,.1f} MB" if name.endswith("bytes") else f"{value:,}"
    return "-" if value is None else str(value)


def _format_rules(root: str, exclude: list[str], include: list[str]) -> str:
    kinds = [(word, given) for word, given in (("without", exclude), ("with", include)) if given]
    parts = [f"{word} {' '.join(map(shlex.quote, given))}" for word, given in kinds]
    return f"{root} {' and '.join(parts)}"
