"""The program that decodes, one picture after the other, until its owner is gone.

Started by :mod:`parecido.indexer.pictures.decoding.process`.  Its imports are what a process costs
that takes the place of one that ended: without NumPy 0.06 s of a core and 16 MB, with it 0.15 s
and 37 MB.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

import parecido.indexer.errors
from parecido.indexer.errors import ParecidoError, PictureUnreadable
from parecido.indexer.pictures.decode import LARGE_PIXELS, Size
from parecido.indexer.pictures.decoding.allowance import (
    SMALL_PIXELS,
    Allowance,
    after_header,
    before_header,
)
from parecido.indexer.pictures.decoding.decoder import follow
from parecido.indexer.pictures.decoding.messages import (
    BYTES,
    DRAWN,
    OPENED,
    READY,
    REFUSED,
    TOO_MUCH_MEMORY,
    Channel,
    Ended,
)
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.wanted import Drawn

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["main"]

_FIRST_TO_GO = "800"  # of 1000: where memory is short, the system ends this before its owner


def main() -> None:
    """Decode what standard input's connection asks for."""
    end = socket.socket(fileno=0)
    _be_expendable()
    threading.Thread(target=_end_with_owner, args=(end,), daemon=True).start()
    channel = Channel(end)
    with suppress(Ended):
        channel.send(READY, {})
        while True:
            _, job, body = channel.receive()
            _work(Order.from_header(job["order"]), bytes(body), job["hash"], channel)


def _be_expendable() -> None:
    """Let Ctrl-C be the owner's; leave no core file; be the first to go where memory is short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def _end_with_owner(end: socket.socket) -> None:
    """End as soon as the other side is gone, also in the middle of a picture."""
    poller = select.poll()
    poller.register(end, 0)  # nothing but that it was hung up
    while not any(what & (select.POLLHUP | select.POLLERR) for _, what in poller.poll()):
        time.sleep(0.1)
    os._exit(0)


def _work(order: Order, content: bytes, hashed: bool, channel: Channel) -> None:
    """Decode one picture; with ``hashed``, ask first whether its bytes are wanted."""
    Image.MAX_IMAGE_PIXELS = order.limits.pixels
    size = len(content) or order.file_bytes

    @contextmanager
    def turn(decoded: Size, whole: Size) -> Iterator[None]:
        """Tell the size of one that may take more, and wait, with a large one, for the others."""
        pixels = max(decoded[0] * decoded[1], whole[0] * whole[1])
        if pixels > SMALL_PIXELS:
            _allow(after_header(size, pixels))
            is_large = decoded[0] * decoded[1] > LARGE_PIXELS
            channel.send(OPENED, {"pixels": pixels, "large": is_large})
            if is_large:
                channel.receive()
        yield

    def claim(digest: bytes) -> bool:
        channel.send(BYTES, {"hash": digest.hex()})
        return bool(channel.receive().header["go"])

    _allow(before_header(size))
    try:
        drawn = follow(order, content, claim if hashed else None, turn)
        if drawn is not None:
            _tell(channel, drawn)
    except ParecidoError as error:
        words = _in_words(error)
        if isinstance(error.__cause__, MemoryError):
            words["kind"] = TOO_MUCH_MEMORY
        channel.send(REFUSED, words)
    except ImportError as error:
        channel.send(REFUSED, {"module": error.name, "message": str(error)})
    except MemoryError:  # while it was told
        words = {"reason": "not enough memory to decode it", "kind": TOO_MUCH_MEMORY}
        channel.send(REFUSED, words)


def _tell(channel: Channel, drawn: Drawn) -> None:
    header = drawn._asdict()
    rgb = header.pop("rgb")
    channel.send(DRAWN, header, rgb)


def _in_words(error: ParecidoError) -> dict[str, Any]:
    if isinstance(error, PictureUnreadable):
        return {"reason": error.reason, "kind": error.kind}
    assert hasattr(parecido.indexer.errors, type(error).__name__)
    return {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}


def _allow(allowance: Allowance) -> None:
    """Bound what is taken from now on; the system ends a process that takes more time."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    _bound(resource.RLIMIT_CPU, spent + allowance.cpu_seconds, most)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    _bound(resource.RLIMIT_DATA, allowance.memory_bytes, most)


def _bound(what: int, soft: int, most: int) -> None:
    soft = soft if most == resource.RLIM_INFINITY else min(soft, most)
    with suppress(OSError, ValueError):  # a system that has no such bound
        resource.setrlimit(what, (soft, most))


if __name__ == "__main__":
    main()
