"""Where the CPU time of an indexing run goes, by watching it from outside.

The functions in :data:`STAGES` are replaced by ones that read their thread's own CPU clock when
they begin and end.  What one of them spends in another counts for the inner one.  A Python thread's
time outside all of them is glue; what the process spends in no Python thread at all is the network,
which OpenVINO runs on threads of its own.  What is watched has to decode in its own process:
``IndexOptions(isolate=False)``.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from parecido.indexer.encoders.machine.imports import import_openvino

__all__ = ["GLUE", "NETWORK", "STAGES", "Watch", "watched"]

NETWORK, GLUE = "network", "Python glue"
_WALK, _READ, _HASH, _DECODE = "walk", "read", "hash", "decode"
_SQLITE, _VECTORS, _COMPILE = "SQLite", "vector index", "compile"
_UNPACK = "labels and packing"

# (module, name in it, stage).  A class stands for all its public methods.  When the program is
# rearranged, its new places belong here; what is not there is told, and its time counts as glue.
STAGES = (
    ("parecido.indexer.pictures.walking.walk", "Walk._below", _WALK),
    ("parecido.indexer.pictures.decoding.decoder", "probe", _READ),
    ("parecido.indexer.pictures.decoding.decoder", "content_hash", _HASH),
    ("parecido.indexer.pictures.decoding.decoder", "draw", _DECODE),
    ("parecido.indexer.encoders.runtimes.openvino", "OpenVINORuntime.run", NETWORK),
    ("parecido.indexer.encoders.runtimes.keras", "KerasRuntime.run", NETWORK),
    ("openvino", "Core.compile_model", _COMPILE),
    ("parecido.indexer.encoders.encoder", "Encoder.encode", _UNPACK),
    ("parecido.indexer.catalogue.sqlite.reading.catalogue", "Catalogue", _SQLITE),
    ("parecido.indexer.catalogue.sqlite.writing.writer", "CatalogueWriter", _SQLITE),
    ("parecido.indexer.vectors.local.index", "VectorIndex", _VECTORS),
)


class Watch:
    """CPU seconds by stage, collected while a run is watched."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        """Names in :data:`STAGES` that are not there."""
        self._stages: dict[str, float] = defaultdict(float)
        self._threads = 0.0
        self._local = threading.local()
        self._lock = threading.Lock()
        self._began = time.thread_time()

    def seconds(self, process: float) -> dict[str, float]:
        """CPU seconds by stage, given what the whole process spent; to be asked where it began."""
        python = self._threads + time.thread_time() - self._began
        found = dict(self._stages)
        found[GLUE] = python - sum(found.values())
        found[NETWORK] = found.get(NETWORK, 0.0) + process - python
        return found

    def thread_ended(self) -> None:
        """Count a whole Python thread, from within it."""
        with self._lock:
            self._threads += time.thread_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block for a stage, less what inner blocks count for theirs."""
        inner: list[float] = self._local.__dict__.setdefault("inner", [])
        inner.append(0.0)
        began = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - began
            with self._lock:
                self._stages[name] += spent - inner.pop()
            if inner:
                inner[-1] += spent

    def wrap(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, or generator function, counted for a stage."""

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        @functools.wraps(function)
        def counted_steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            steps = function(*args, **kwargs)
            while True:
                with self.stage(name):
                    try:
                        step = next(steps)
                    except StopIteration:
                        return
                yield step

        return counted_steps if inspect.isgeneratorfunction(function) else counted


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch everything that runs in this block.  One at a time."""
    import_openvino()  # as the program does it, before it is looked up below
    watch = Watch()
    before: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, by: Callable[..., Any]) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, by)

    for module, path, stage in STAGES:
        *outer, name = path.split(".")
        try:
            owner = functools.reduce(getattr, outer, import_module(module))
            target = getattr(owner, name)
        except (ImportError, AttributeError):
            watch.missing.append(f"{module}.{path}")
            continue
        if not inspect.isclass(target):
            replace(owner, name, watch.wrap(target, stage))
            continue
        for method, function in list(vars(target).items()):
            if inspect.isfunction(function) and not method.startswith("_"):
                replace(target, method, watch.wrap(function, stage))

    run = threading.Thread.run

    def run_and_tell(thread: threading.Thread) -> None:
        try:
            run(thread)
        finally:
            watch.thread_ended()

    replace(threading.Thread, "run", run_and_tell)
    try:
        yield watch
    finally:
        for owner, name, function in reversed(before):
            setattr(owner, name, function)
