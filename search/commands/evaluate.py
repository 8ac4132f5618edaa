"""The command ``parecido eval``.  No logic here: options in, words out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parecido.indexer.commands.terminal import debug_option, fail, print_json, quiet_decoders
from parecido.indexer.system.own_files import scratch_folder
from parecido.indexer.system.text import plural, printable, relative

if TYPE_CHECKING:
    from parecido.search.evaluating.evaluation import Evaluation
    from parecido.search.evaluating.labelled_pictures import Collection
    from parecido.search.evaluating.recipe import Recipe
    from parecido.search.evaluating.setup import EvaluationSetup, EvaluationWatch

__all__ = ["eval_command"]

_SHOWN = 5  # unreadable pictures that are named


@click.command("eval")
@click.argument("collection", type=click.Path())
@click.option(
    "--recipe",
    "recipes",
    metavar="RECIPE",
    multiple=True,
    help="A way to index and to search, 'NAME: key=value key=value', or the name of a built-in "
    "one; repeatable, for a row each.  [default: default]",
)
@click.option(
    "-k",
    type=click.IntRange(min=1),
    metavar="N",
    default=10,
    show_default=True,
    help="Of precision@k.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with everything.")
@click.option(
    "--sheet",
    metavar="OUT.png",
    type=click.Path(),
    help="Write the worst queries of each recipe as one picture.",
)
@click.option(
    "--worst",
    type=click.IntRange(1, 100),
    metavar="N",
    default=12,
    show_default=True,
    help="How many worst queries of each recipe --sheet and --json show.",
)
@click.option(
    "--keep",
    metavar="FOLDER",
    type=click.Path(file_okay=False),
    help="Keep the libraries there, so that the next evaluation need not encode again.  "
    "[default: a temporary folder]",
)
@debug_option
def eval_command(
    collection: str,
    recipes: tuple[str, ...],
    k: int,
    as_json: bool,
    sheet: str | None,
    worst: int,
    keep: str | None,
) -> None:
    """Measure how well pictures find others of their group.

    COLLECTION is a folder with a subfolder for each group, or a CSV file with the columns path and
    group.  Every picture queries all the others; the table tells mAP with its interval, recall at
    1, 5 and 10, precision at k, and N-S where all groups have four.
    """
    from parecido.indexer.commands.progress import stop_on_signal
    from parecido.search.evaluating.labelled_pictures import load_collection
    from parecido.search.evaluating.recipe import parse_recipe
    from parecido.search.evaluating.scoreboard import scoreboard_dict, scoreboard_text
    from parecido.search.evaluating.setup import EvaluationSetup

    if sheet:
        from parecido.search.sheets.sheet import check_target

        check_target(sheet)
    parsed = [parse_recipe(recipe) for recipe in recipes or ("default",)]
    names = [recipe.name for recipe in parsed]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise click.UsageError(f"Two recipes are named {twice!r}.")
    loaded = load_collection(collection)
    if keep:
        _check_keep(keep, loaded)
    setup = EvaluationSetup(k=k, worst=worst)
    with quiet_decoders(), stop_on_signal() as stop, _folder(keep) as folder:
        done = _evaluate(loaded, parsed, folder, setup, stop)
    if done:
        if as_json:
            print_json(scoreboard_dict(loaded.source, k, done))
        else:
            click.echo(scoreboard_text(done))
        _tell_left_out(done)
    if len(done) < len(parsed):
        fail(f"Interrupted; {len(done)} of {plural(len(parsed), 'recipe')} evaluated.")
        raise SystemExit(130)
    if sheet:
        _write_sheet(done, sheet)


def _check_keep(keep: str, collection: Collection) -> None:
    """Refuse a folder among the pictures, where the next evaluation would take it for a class."""
    from parecido.indexer.errors import InvalidRequest
    from parecido.indexer.system.paths import absolute

    place = Path(absolute(keep))
    if os.path.isdir(collection.source) and place.is_relative_to(collection.source):
        raise InvalidRequest(
            f"{keep} lies in the collection, so its libraries would be taken for pictures.",
            "Keep them in a folder beside it.",
        )


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep:
        yield Path(os.path.expanduser(keep)).absolute()
        return
    # ignoring errors: what cannot be deleted is no reason to lose the figures
    with scratch_folder("parecido-eval-") as folder:
        yield Path(folder)


def _evaluate(
    collection: Collection,
    recipes: Sequence[Recipe],
    folder: Path,
    setup: EvaluationSetup,
    stop: Callable[[], bool],
) -> list[Evaluation]:
    from parecido.search.evaluating.evaluation import evaluate

    terminal = sys.stderr.isatty()
    watch = _bars(len(recipes)) if terminal else None
    found = evaluate(
        collection, recipes, folder, setup, watch=watch, stop=stop, show_output=terminal
    )
    return list(found)


def _bars(count: int) -> EvaluationWatch:
    """Progress bars on stderr; with several recipes a line before each."""
    from parecido.indexer.commands.progress import progress_bar
    from parecido.indexer.indexing.options import IndexOptions
    from parecido.indexer.indexing.plan import Progress
    from parecido.search.evaluating.setup import EvaluationWatch

    class Bars(EvaluationWatch):
        def indexing(
            self, recipe: Recipe, files: Sequence[str], library: Path
        ) -> AbstractContextManager[Progress | None]:
            if count > 1:
                click.echo(printable(recipe.name), err=True)
            return progress_bar(files, IndexOptions(), library)

        @contextmanager
        def ranking(self, recipe: Recipe, queries: int) -> Iterator[Callable[[int], None]]:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("ranking"), BarColumn(), MofNCompleteColumn())
            console = Console(stderr=True)
            with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
                task = bar.add_task("", total=queries)
                yield lambda done: bar.advance(task, done)

    return Bars()


def _tell_left_out(evaluated: Sequence[Evaluation]) -> None:
    """What of the collection took no part, on stderr; once where it was the same for all."""
    told = set()
    for one in evaluated:
        paths = tuple(skip.path for skip in one.unreadable)
        if paths in told or not paths:
            continue
        told.add(paths)
        # all recipes read the same files, so it is the first that tells unless one differs
        prefix = f"{one.recipe.name}: " if len(told) > 1 else ""
        are = "is" if len(paths) == 1 else "are"
        fail(f"{prefix}{plural(len(paths), 'picture')} cannot be read and {are} left out:")
        for skip in one.unreadable[:_SHOWN]:
            path = printable(relative(skip.path, os.getcwd()))
            click.echo(f"  {path}: {printable(skip.reason)}", err=True)
        if len(paths) > _SHOWN:
            click.echo(f"  … and {len(paths) - _SHOWN:,} more; --json lists all", err=True)
        if one.dropped_groups:
            from parecido.search.evaluating.labelled_pictures import few

            fail(
                f"{prefix}{plural(len(one.dropped_groups), 'group')} left out, with fewer than two "
                f"pictures that can be read: {few(one.dropped_groups)}."
            )


def _write_sheet(evaluated: Sequence[Evaluation], path: str) -> None:
    from parecido.search.evaluating.scoreboard import worst_sheet
    from parecido.search.sheets.sheet import save_sheet

    with quiet_decoders():
        save_sheet(worst_sheet(evaluated), path)
    click.echo(f"sheet written to {printable(path)}", err=True)
