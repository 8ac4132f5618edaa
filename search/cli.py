"""The root command ``parecido``.

Its commands are imported only when they are called, so that ``parecido --help`` is quick; the help
lines in the table below are compared with the commands' own by a test.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from parecido.indexer.commands.terminal import fail, relay_log
from parecido.indexer.errors import ParecidoError

__all__ = ["cli", "main"]

# name: (where it is, its line in the help)
COMMANDS = {
    "index": (
        "parecido.indexer.commands.index:index_command",
        "Add pictures, and follow what changed, moved or went.",
    ),
    "search": (
        "parecido.search.commands.search:search_command",
        "Find the pictures most like a picture.",
    ),
    "serve": (
        "parecido.search.commands.serve:serve_command",
        "Answer queries over HTTP, with a page for people.",
    ),
    "eval": (
        "parecido.search.commands.evaluate:eval_command",
        "Measure how well pictures find others of their group.",
    ),
    "explain": (
        "parecido.search.commands.explain:explain_command",
        "Show which places of two pictures make them match.",
    ),
    "compare": (
        "parecido.search.commands.compare:compare_command",
        "Print the cosines between given pictures.",
    ),
    "labels": (
        "parecido.search.commands.labels:labels_command",
        "Print the ImageNet classes of pictures.",
    ),
    "info": ("parecido.indexer.commands.info:info_command", "Tell what a library holds and how."),
    "verify": (
        "parecido.indexer.commands.verify:verify_command",
        "Check a library from top to bottom.",
    ),
    "relocate": (
        "parecido.indexer.commands.relocate:relocate_command",
        "Tell the library that what lay in OLD lies in NEW now.",
    ),
    "backup": (
        "parecido.indexer.commands.backup:backup_command",
        "Copy the library into one file, while everything runs.",
    ),
    "restore": (
        "parecido.indexer.commands.restore:restore_command",
        "Make a library of a backup in a new folder.",
    ),
    "remove": (
        "parecido.indexer.commands.remove:remove_command",
        "Take pictures out of the library; the files stay.",
    ),
    "models": (
        "parecido.indexer.commands.models:models_command",
        "List the encoders, and whether their weights are here.",
    ),
    "completion": (
        "parecido.search.commands.completion:completion_command",
        "Print a shell completion script.",
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # the reader of our output (head, less) went away: nothing to say, nowhere to say it
            _drop_output()
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            fail("Interrupted.")
            raise SystemExit(130) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except ParecidoError as error:
            if ctx.meta.get("parecido.debug"):
                raise
            fail(error.message, error.remedy)
            raise SystemExit(error.exit_code) from None
        except Exception as error:
            if ctx.meta.get("parecido.debug"):
                raise
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                _drop_output()
                fail("There is no space left for the output.", "Free some, or write it elsewhere.")
                raise SystemExit(1) from None
            what = (str(error).strip().splitlines() or [""])[0]
            fail(
                f"Unexpected {type(error).__name__}: {what}",
                "This is a defect; --debug shows where.",
            )
            raise SystemExit(1) from None


def _drop_output() -> None:
    """Let go of what could not be written: Python would try it again at its end, and exit with 120.

    An output that was closed has no number, and nothing is tried there.
    """
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parecido", message="parecido %(version)s")
def cli() -> None:
    """Find pictures that look alike.

    Start with `parecido index FOLDER`, then `parecido search PICTURE`.
    """
    relay_log()


def main() -> None:
    """The console script."""
    # a caller may have closed them; what would be said then goes nowhere
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    # Read when NumPy is imported.  After a matrix product OpenBLAS's threads wait in a busy loop
    # for the next one, 25 ms by default, on cores that the network wants: of a search 80 ms of CPU.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    cli.main(prog_name="parecido")


if __name__ == "__main__":
    main()
