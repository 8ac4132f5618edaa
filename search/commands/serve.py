"""``parecido serve``: the command that answers over HTTP."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING

import click

from parecido.indexer.commands.terminal import common_options
from parecido.search.commands.shared import device_option

if TYPE_CHECKING:
    from parecido.search.web.settings import Settings

__all__ = ["serve_command"]

_ANY = ("0.0.0.0", "::", "")
_GRACE_SECONDS = 2.0  # for requests; the library gets the rest of three seconds
_BACKLOG = 2048
_FILES = 65_536  # open at once, if the system lets it
_OWN_FILES = 256  # of the library, the network, and pictures that are read
_SWITCH_SECONDS = 0.0005


@click.command("serve")
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen."
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    envvar="PARECIDO_TOKEN",
    help="What clients must present.  Rather by the environment, where other users do not see it.  "
    "[env: PARECIDO_TOKEN]",
)
@click.option(
    "--insecure", is_flag=True, help="Listen on other addresses than loopback without a token."
)
@click.option("--read-only", is_flag=True, help="Let nobody add, replace, delete or index.")
@click.option(
    "--uploads",
    metavar="FOLDER",
    type=click.Path(file_okay=False),
    help="The server's own folder for uploaded pictures.  [default: uploads in the library]",
)
@click.option(
    "--allow-index",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Let clients have pictures below this folder indexed; repeatable.",
)
@click.option(
    "--allow-host",
    metavar="NAME",
    multiple=True,
    help="Another name that the server goes by; repeatable.",
)
@click.option(
    "--allow-origin",
    metavar="ORIGIN",
    multiple=True,
    help="Let pages of another site use the API, as https://photos.example; repeatable.",
)
@click.option(
    "--max-upload-megabytes",
    metavar="N",
    type=click.IntRange(1, 512),
    default=32,
    show_default=True,
    help="Refuse larger requests.",
)
@click.option(
    "--max-megapixels",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="Refuse larger pictures.",
)
@click.option(
    "--max-concurrent",
    metavar="N",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Requests at once; more are asked to try again.",
)
@click.option(
    "--max-connections",
    metavar="N",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Connections at once; then idle ones are closed for new ones.",
)
@click.option(
    "--max-connections-per-address",
    metavar="N",
    type=click.IntRange(min=0),
    help="Connections of one address; 0 for any number.  [default: 128, and any number of this "
    "machine itself, where a proxy may be]",
)
@click.option(
    "--max-uploads-gigabytes",
    metavar="N",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Space for uploaded pictures; 0 for any.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Longest time for a request.",
)
@device_option
@common_options
def serve_command(
    host: str,
    port: int,
    token: str | None,
    insecure: bool,
    read_only: bool,
    uploads: str | None,
    allow_index: tuple[str, ...],
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    max_upload_megabytes: int,
    max_megapixels: int,
    max_concurrent: int,
    max_connections: int,
    max_connections_per_address: int | None,
    max_uploads_gigabytes: float,
    timeout: float,
    device: str,
    library: str | None,
) -> None:
    """Answer queries over HTTP, with a page for people.

    Bound to loopback by default; on any other address a token is required.
    """
    if not _is_loopback(host) and not token and not insecure:
        raise click.UsageError(
            f"On {host} anybody in the network could look at the pictures.  Set a token in the "
            "environment (PARECIDO_TOKEN), or say --insecure."
        )
    # Read when NumPy is imported.  Its products are small here, and on two threads each waits until
    # the other gets a core from the network: 146 uploads a second with one, 118 with two.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pathlib import Path

    from parecido.search.web.settings import Settings

    settings = Settings(
        token=token or None,
        read_only=read_only,
        uploads=Path(uploads) if uploads else None,
        index_roots=tuple(map(Path, allow_index)),
        hosts=_hosts(host, allow_host),
        origins=tuple(origin.rstrip("/") for origin in allow_origin),
        upload_bytes=max_upload_megabytes * 1_000_000,
        pixels=max_megapixels * 1_000_000,
        uploads_bytes=round(max_uploads_gigabytes * 1e9),
        concurrent=max_concurrent,
        seconds=timeout,
        device=device,
    )
    _serve(host, port, settings, library, (max_connections, max_connections_per_address))


def _serve(
    host: str,
    port: int,
    settings: Settings,
    library: str | None,
    connections: tuple[int, int | None],
) -> None:
    import uvicorn

    from parecido.indexer.library.library import Library
    from parecido.search.web.app import create_app
    from parecido.search.web.callers.connections import Bounds, Connections, Server

    sock = _listen(host, port)  # first: where that fails, no library is made
    with Library.open(library) if settings.read_only else Library.create(library) as opened:
        folder = opened.folder
    _log_requests()
    app = create_app(folder, settings)
    shown = f"[{host}]" if ":" in host else host
    click.echo(
        f"parecido: {folder} on http://{shown}:{sock.getsockname()[1]}/ (Ctrl-C stops)", err=True
    )
    # The thread that serves wants the interpreter back often, for a moment each: with Python's own
    # 5 ms, it waits for the searching thread most of the time.
    sys.setswitchinterval(_SWITCH_SECONDS)
    most, of_address = connections
    bounds = Bounds(min(most, _spare_files()), of_address, discarded_bytes=settings.upload_bytes)
    bounded = Connections(bounds)
    config = uvicorn.Config(
        app,
        http=bounded.make_protocol,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=30,
    )
    gc.collect()
    gc.freeze()  # what was imported stays: no collection needs to look at it again
    stop = app.state.callers.turns.stop
    Server(config, bounded, _GRACE_SECONDS, stop).run(sockets=[sock])


def _spare_files() -> int:
    """How many connections this process may have open beside its files; more where it may."""
    try:
        import resource
    except ImportError:  # Windows has no such bound
        return sys.maxsize
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(16, soft - _OWN_FILES)


def _listen(host: str, port: int) -> socket.socket:
    from parecido.indexer.errors import InvalidRequest

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)  # before the address is told
    except (OSError, UnicodeError) as error:
        sock.close()
        raise InvalidRequest(
            f"Cannot listen on {host}, port {port}: {error}.",
            "Choose another with --port or --host.",
        ) from error
    sock.set_inheritable(True)
    return sock


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hosts(host: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """By which names the server may be called."""
    from parecido.search.web.settings import LOOPBACK

    names = [*LOOPBACK, *(name.lower() for name in allowed)]
    if host in _ANY:
        # by any address, which no foreign site can claim, and by the machine's own name
        names += ["ip", socket.gethostname().lower(), socket.getfqdn().lower()]
    else:
        names.append(host.lower())
    return tuple(dict.fromkeys(names))


def _log_requests() -> None:
    """A line of JSON on stderr for each request."""

    log = logging.getLogger("parecido.access")
    lines = logging.StreamHandler()  # on stderr, whatever becomes of it
    lines.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(lines)
    log.propagate = False
    log.setLevel(logging.INFO)
