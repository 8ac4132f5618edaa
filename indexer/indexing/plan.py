"""Everything that a run decides before it begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.machine.devices import gpu_visible
from parecido.indexer.indexing.encoder_choice import check_encoder, choose_encoder
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.places.relocation import (
    Relocated,
    recognise_roots,
    relocate_in,
)
from parecido.indexer.indexing.places.roots import Roots, look_at_roots
from parecido.indexer.library.writing import Writing
from parecido.indexer.pictures.decoding.decoder import Decoder, DecoderHere
from parecido.indexer.pictures.decoding.processes import DecoderProcesses
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.runs import IndexReport
from parecido.indexer.regional.source import check_has_regions

__all__ = ["Hooks", "Plan", "Progress", "plan_run"]

Progress = Callable[[IndexReport], None]


def _ignore(_: IndexReport) -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """What a run calls while it goes on."""

    progress: Progress = _ignore
    """Now and then, with the running report."""
    stop: Callable[[], bool] = lambda: False
    """When it returns true, what is ready is committed, and the run ends."""
    committed: Progress = _ignore
    """After each commit."""


@dataclass(frozen=True)
class Plan:
    """What is walked, what describes it, and what is kept of it."""

    spec: EncoderSpec
    """The encoder that describes."""
    encoder: Encoder | None = None
    """It, where it was given ready to run."""
    folder: Path = Path()
    """The library's."""
    roots: Roots = field(default_factory=Roots)
    options: IndexOptions = field(default_factory=IndexOptions)
    keeps_regions: bool = False
    """Whether regions are described too."""
    decoder: Decoder = field(default_factory=DecoderProcesses)
    """Who decodes, for this run alone: it ends with it."""
    relocated: tuple[Relocated, ...] = ()
    """Roots that lie elsewhere now, or of which there are copies while they are away."""

    @property
    def workers(self) -> int:
        """Threads that read, decode and encode."""
        # One more than cores: a worker sleeps while OpenVINO's thread works for it, and wakes late.
        # On two cores 2 workers index 168 pictures a second, 3 do 195, and 4 do 193.
        # Up to three sleep while a GPU works for them.
        asleep = 3 if self.options.device != "cpu" and gpu_visible() else 1
        return self.options.workers or (os.cpu_count() or 1) + asleep

    @cached_property
    def inside(self) -> tuple[str, ...]:
        """Real paths of the folders out of which no link may lead."""
        return tuple(os.path.realpath(os.fspath(folder)) for folder in self.options.inside)

    def walk(self) -> Walk:
        """A walk over the roots that are there."""
        options = self.options
        inside = [os.fsencode(folder) for folder in self.inside]
        return Walk(
            *(self.roots.present, options.exclude, options.hidden, self.folder, inside),
            include=options.include,
            kept=self.roots.kept,
            closed=[os.fsencode(folder) for folder in self.roots.replaced],
        )


def plan_run(
    writing: Writing, paths: list[str], options: IndexOptions, encoder: Encoder | None
) -> Plan:
    """The plan of a run over absolute paths.

    Raises :class:`~parecido.EncoderMismatch` where the library has another encoder,
    ``PathNotFound`` for a path that is neither there nor known, and ``InvalidRequest`` where
    regions are to be kept and the encoder has none.
    """
    catalogue = writing.catalogue
    spec = encoder.spec if encoder else choose_encoder(writing, options)
    check_encoder(writing, spec)
    keeps = catalogue.settings.keeps_regions() if options.within is None else options.within
    if keeps:
        check_has_regions(spec)
    # a client of a server does not say where its owner's drives are
    relocated = [] if options.inside else _relocate_roots(writing, paths)
    roots = look_at_roots(catalogue, paths, options).without(writing.folder)
    decoder = DecoderProcesses() if options.isolate else DecoderHere()
    return Plan(spec, encoder, writing.folder, roots, options, keeps, decoder, tuple(relocated))


def _relocate_roots(writing: Writing, paths: list[str]) -> list[Relocated]:
    """Give roots that are elsewhere by now their new paths; these, and those with copies there."""
    done: list[Relocated] = []
    while True:
        found = recognise_roots(writing.catalogue, paths)
        certain = [one for one in found if one.is_certain]
        for one in certain:
            relocate_in(writing, one.old, one.new)
        done += certain
        if not certain:  # else the place of one may be free for another
            return done + found
