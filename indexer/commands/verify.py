"""``parecido verify``: whether a library and its pictures are sound, and the library's repair."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from parecido.indexer.commands.terminal import common_options, fail, print_json
from parecido.indexer.system.paths import within
from parecido.indexer.system.text import plural, printable

if TYPE_CHECKING:
    from parecido.indexer.library.library import Library
    from parecido.indexer.records.runs import PictureCheck, Problem

__all__ = ["verify_command"]

_SHOWN = 10  # files of a kind; --json lists all
_NAMED = 3  # files that a remedy names; of more, the roots that hold them


class _Share(click.ParamType[float]):
    """``10%`` or ``10``: above 0, at most 100."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            share = float(str(value).strip().removesuffix("%"))
        except ValueError:
            share = 0.0
        if not 0 < share <= 100:
            self.fail(f"{value!r} is no share above 0% and at most 100%.", param, ctx)
        return share


@click.command("verify")
@click.option("--repair", is_flag=True, help="Drop what is damaged, and read those pictures again.")
@click.option(
    "--pictures",
    is_flag=True,
    help="Read the pictures' files too, and compare them with what was indexed.  Goes on where it "
    "was interrupted.",
)
@click.option(
    "--share",
    metavar="P%",
    type=_Share(),
    help="Of the pictures, read only so many, behind those of earlier shares: ten runs of 10% read "
    "all.",
)
@click.option("--wait", is_flag=True, help="Wait for another writer instead of refusing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def verify_command(
    library: str | None,
    repair: bool,
    pictures: bool,
    share: float | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Check a library from top to bottom.

    Every row has a digest; the vector index and other caches are compared, too.  With --pictures,
    also whether the files still hold what was indexed where their size and times say so: disks
    lose bits.  What is unplugged is told, and no failure.
    """
    from parecido.indexer.checkup.repair import repair as mend
    from parecido.indexer.checkup.verify import check_catalogue, check_contents
    from parecido.indexer.library.library import Library

    if share is not None and not pictures:
        raise click.UsageError("--share is a share of the pictures that --pictures reads.")
    done = mend(library, wait=wait) if repair else []
    check = None
    with Library.open(library) as opened:
        damage = check_catalogue(opened)
        problems = damage or check_contents(opened)
        aside = [] if problems else opened.catalogue.aside.list_aside()
        roots = [root.path for root in opened.catalogue.roots()] if pictures and not damage else []
        if pictures and not damage:  # a damaged row would pass for a damaged file
            check = _read_pictures(opened, share or 100.0)
    if as_json:
        is_sound = not problems and (check is None or check.is_sound)
        told = {"ok": is_sound, "problems": [p.what for p in problems], "repaired": done}
        told |= {"set_aside": [one.path for one in aside]} if aside else {}
        told |= {"pictures": check and _picture_facts(check)} if pictures else {}
        print_json(told)
    else:
        for line in done:
            click.echo(line)
        for one in aside:
            click.echo(f"{printable(one.path)} is set aside until it can be read ({one.reason})")
        for problem in problems:
            click.echo(problem.what)
        if not problems:
            click.echo("The library is sound.")
        if check is not None:
            _print_check(check)
        elif pictures:
            click.echo("The pictures were not read: the catalogue does not say what they were.")
    _exit(problems, check, roots)


def _read_pictures(library: Library, share: float) -> PictureCheck:
    from parecido.indexer.checkup.pictures import verify_pictures
    from parecido.indexer.commands.progress import show_pictures, stop_on_signal

    with stop_on_signal() as stop, show_pictures() as progress:
        return verify_pictures(library, share, progress=progress, stop=stop)


def _exit(problems: list[Problem], check: PictureCheck | None, roots: list[bytes]) -> None:
    """Say what to do, and end with 130 for an interruption, 1 for anything wrong."""
    if any(problem.repairable for problem in problems):
        fail(f"{plural(len(problems), 'problem')} found.", "Mend: parecido verify --repair")
    if check is not None and check.changed:
        count = plural(len(check.changed), "file")
        fail(
            f"{count} changed without size and time telling: damage, or an edit that kept both.",
            "Put back a copy of what is damaged; take in what was edited: "
            f"parecido index --rehash {_name(check.changed, roots)}",
        )
    if check is not None and any(one.kind == "failing" for one in check.unreadable):
        fail("A disk cannot read what it holds.", "Save what can be read of it.")
    if check is not None and check.interrupted:
        raise SystemExit(130)
    if problems or (check is not None and not check.is_sound):
        raise SystemExit(1)


def _name(paths: list[str], roots: list[bytes]) -> str:
    """Paths as a shell takes them: a few, or what was given to be indexed and holds many."""
    named = paths
    if len(paths) > _NAMED:
        raw = [os.fsencode(path) for path in paths]
        named = [os.fsdecode(root) for root in roots if any(within(path, root) for path in raw)]
    return " ".join(shlex.quote(path) for path in named)


def _picture_facts(check: PictureCheck) -> dict[str, Any]:
    """The check of the pictures' files as JSON shows it."""
    return {
        "total": check.total,
        "read": check.read,
        "bytes": check.bytes,
        "changed": check.changed,
        "outdated": check.outdated,
        "gone": check.gone,
        "unreadable": [{"path": one.path, "reason": one.reason} for one in check.unreadable],
        "away": check.away,
        "share": check.share,
        "from": check.first_id,
        "to": check.last_id,
        "resumed": check.resumed,
        "complete": check.complete,
        "interrupted": check.interrupted,
        "place_kept": not check.not_kept,
    }


def _print_check(check: PictureCheck) -> None:
    behind = ", behind those of earlier runs" if check.resumed and check.looked else ""
    read = f"{check.read:,} of {plural(check.total, 'picture')} read{behind}"
    click.echo(f"{read}: {check.bytes / 1e6:,.1f} MB, {_count(check.changed)} changed unseen")
    _list(check.changed)
    if check.unreadable:
        click.echo(f"{plural(len(check.unreadable), 'file')} cannot be read:")
        _list([f"{one.path}: {one.reason}" for one in check.unreadable])
    if check.outdated or check.gone:
        parts = [
            f"{len(which):,} {what}"
            for which, what in ((check.outdated, "changed by size or time"), (check.gone, "gone"))
            if which
        ]
        click.echo(f"{', '.join(parts)}: the next `parecido index` sees that.")
    if check.away:
        where = "on disks or in folders that are not there now"
        click.echo(f"{plural(check.away, 'picture')} could not be read, {where}.")
    if check.not_kept:
        click.echo(f"{printable(check.not_kept)}: the next run begins with the first picture.")
    elif check.interrupted:
        click.echo("Interrupted; the next run goes on from here.")
    elif not check.complete:
        click.echo("The next share goes on from here.")


def _count(paths: list[str]) -> str:
    return f"{len(paths):,}" if paths else "none"


def _list(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        click.echo(f"  {printable(line)}")
    if len(lines) > _SHOWN:
        click.echo(f"  … and {len(lines) - _SHOWN:,} more; --json lists all")
