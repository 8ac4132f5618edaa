"""Thousands of damaged files of every format: none stops a run, takes for ever, or all memory.

As many as ``PARECIDO_MUTATIONS`` says, 1,500 by default.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from parecido import Limits, PictureUnreadable
from parecido.indexer.pictures.decoding.allowance import after_header
from parecido.indexer.pictures.decoding.messages import STOPPING_KINDS
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.decoding.processes import DecoderProcesses
from parecido.indexer.pictures.decoding.stock import STOCK
from parecido.indexer.pictures.wanted import Fitting
from parecido.indexer.records.choices import FORMATS
from tests.support.mutations import mutate, sample_files

COUNT = int(os.environ.get("PARECIDO_MUTATIONS", "1500"))
LIMITS = Limits(pixels=50_000_000, bytes=32 << 20)


def test_there_is_a_sample_of_every_format_and_each_is_read() -> None:
    samples, decoder = sample_files(), DecoderProcesses()
    assert set(samples) == set(FORMATS)
    for form, files in samples.items():
        for data in files:
            drawn = decoder.decode(Order(Fitting(64), LIMITS), data)
            assert drawn is not None
            assert drawn.format == {"MPO": "JPEG"}.get(form, form)


def test_damaged_files_are_drawn_or_refused_and_nothing_else(
    record_property: Callable[[str, object], None],
) -> None:
    samples, decoder = sample_files(), DecoderProcesses()
    names = sorted(samples)
    ends: Counter[str] = Counter()
    slowest = [0.0, ""]

    def meet(number: int) -> None:
        rng = random.Random(number)
        form = names[number % len(names)]
        data = mutate(rng.choice(samples[form]), rng.choice(samples[rng.choice(names)]), rng)
        started = time.monotonic()
        try:
            drawn = decoder.decode(Order(Fitting(64), LIMITS), data)
            assert drawn is not None
            assert len(drawn.rgb) == 3 * drawn.size[0] * drawn.size[1] <= 3 * 64 * 64
            ends["drawn"] += 1
        except PictureUnreadable as error:
            ends[error.kind] += 1
            if error.kind in STOPPING_KINDS:
                ends[f"{error.kind}: {form} {number}"] += 1
        slowest[:] = max(slowest, [time.monotonic() - started, f"{form} {number}"])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(meet, range(COUNT)))
    told = sum(count for kind, count in ends.items() if ":" not in kind)
    assert told == COUNT
    peak = max(map(peak_bytes, STOCK.idle))
    summary = f"{COUNT} damaged files: {dict(ends)}; slowest {slowest}; peak {peak >> 20} MB"
    record_property("counts", summary)
    assert peak < after_header(LIMITS.bytes, LIMITS.pixels).memory_bytes


def peak_bytes(process: object) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()  # type: ignore[attr-defined]
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
