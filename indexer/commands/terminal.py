"""What every command shares: options, JSON, errors in one line, decoders kept quiet."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from parecido.indexer.system.text import printable

__all__ = ["common_options", "debug_option", "fail", "print_json", "quiet_decoders", "relay_log"]

_F = TypeVar("_F", bound=Callable[..., Any])


def common_options(command: _F) -> _F:
    """``--library`` and ``--debug``, which nearly every command takes."""
    return click.option(
        "--library",
        metavar="PATH",
        envvar="PARECIDO_LIBRARY",
        help="The library's folder.  [default: the user's own; env: PARECIDO_LIBRARY]",
    )(debug_option(command))


def debug_option(command: _F) -> _F:
    """``--debug``, for commands that need no library."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks."
    )(command)


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta["parecido.debug"] = True
        import logging

        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        logging.getLogger("PIL").setLevel(logging.INFO)


def relay_log() -> None:
    """Show what library code logs, one line each on stderr."""
    import logging

    class Relay(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            click.echo(f"parecido: {printable(record.getMessage())}", err=True)

    log = logging.getLogger("parecido")
    if not log.handlers:
        log.addHandler(Relay())
        log.setLevel(logging.INFO)


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout; ASCII, so that any path survives."""
    click.echo(json.dumps(value, ensure_ascii=True))


def fail(message: str, remedy: str = "") -> None:
    """One line on stderr."""
    click.echo(f"parecido: {printable(f'{message} {remedy}'.strip())}", err=True)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep decoding libraries from writing on the terminal; Python's own stderr goes on working.

    libtiff and its like print remarks about damaged files straight to file descriptor 2, where they
    would tear up the progress bar.  What is wrong with a file is told by its skip.
    """
    import warnings

    context = click.get_current_context(silent=True)
    if context is not None and context.find_root().meta.get("parecido.debug"):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        try:
            kept = os.dup(2)
            silent = os.open(os.devnull, os.O_WRONLY)
        except OSError:
            yield
            return
        own = sys.stderr
        sys.stderr = os.fdopen(
            os.dup(kept),
            "w",
            buffering=1,
            encoding=own.encoding or "utf-8",
            errors="backslashreplace",
        )
        os.dup2(silent, 2)
        os.close(silent)
        try:
            yield
        finally:
            sys.stderr.flush()
            sys.stderr.close()
            sys.stderr = own
            os.dup2(kept, 2)
            os.close(kept)
