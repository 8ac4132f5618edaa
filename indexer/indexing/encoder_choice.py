"""Which encoder a run uses: the library's own, or for one without pictures what is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from parecido.indexer.encoders.building.export import obtain_export
from parecido.indexer.encoders.building.quantise import (
    CALIBRATION_FILES,
    Read,
    check_can_quantise,
    quantise,
)
from parecido.indexer.encoders.building.quantised_model import drop_quantised_model, quantised_model
from parecido.indexer.encoders.networks.digest import sha256_of
from parecido.indexer.encoders.networks.saved_file import FILE_SUFFIXES
from parecido.indexer.encoders.presets import with_size
from parecido.indexer.encoders.registry import find_network
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.errors import EncoderMismatch
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.library.writing import Writing
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec
from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.paths import absolute

__all__ = ["calibrate", "check_encoder", "choose_encoder"]


def choose_encoder(writing: Writing, options: IndexOptions) -> EncoderSpec:
    """The library's own encoder, or for a library without pictures the one that is asked for."""
    own = writing.encoder
    if own is not None and writing.catalogue.descriptors.count():
        asked = _find_disagreement(own, options)
        if asked:
            raise _mismatch(writing, own, asked)
        return _with_given_file(own, options)
    int8 = options.precision == "int8"
    if int8:
        check_can_quantise(options.device)
    choice = EncoderChoice(
        model=options.model or "auto",
        pooling=options.pooling,
        weights=options.weights,
        preprocessing=options.preprocessing,
        precision="float32" if int8 else options.precision or "auto",
        size=options.size,
        resample=options.resample,
        quality=options.quality,
    )
    spec = resolve(choice, show_output=options.show_output)
    return replace(spec, precision="int8") if int8 else spec  # not calibrated yet


def check_encoder(writing: Writing, spec: EncoderSpec) -> None:
    """Raise :class:`~parecido.EncoderMismatch` where the pictures have another encoder."""
    own = writing.encoder
    if own and own.fingerprint != spec.fingerprint and writing.catalogue.descriptors.count():
        raise _mismatch(writing, own, spec.title)


def calibrate(
    writing: Writing,
    spec: EncoderSpec,
    walk: Callable[[], Walk],
    read: Read,
    stop: Callable[[], bool],
) -> EncoderSpec:
    """The spec; of an int8 encoder that is not calibrated yet, calibrated on what is walked.

    ``read`` gives the hash and the pixels of a file, as for
    :func:`~parecido.indexer.encoders.building.quantise.quantise`.  In a library without pictures, a
    quantised model that another encoder left is removed.
    """
    if writing.catalogue.descriptors.count():
        return spec
    own, folder = writing.encoder, writing.folder
    if spec.precision != "int8":
        drop_quantised_model(folder, own.calibration if own else "")
        return spec
    if spec.calibration:  # of an encoder that was given ready
        quantised_model(spec, folder)
        return spec
    files = [Path(os.fsdecode(entry.path)) for entry in islice(walk(), CALIBRATION_FILES)]
    drop_quantised_model(folder, own.calibration if own else "")
    plain = replace(spec, precision="float32")
    with writing_folder(folder):
        return quantise(plain, obtain_export, files, folder, read, stop)


def _find_disagreement(own: EncoderSpec, options: IndexOptions) -> str:
    """What the options ask for that the library's encoder is not; empty where they agree."""
    model = options.model or "auto"
    if model.lower().endswith(FILE_SUFFIXES):
        path = Path(absolute(model))
        if own.model != "file" or not path.is_file() or sha256_of(path) != own.weights_sha256:
            return f"the network {model}"
    elif model != "auto" and model.lower() != own.model:
        return find_network(model).name
    if options.preprocessing not in (None, own.preprocessing):
        return f"{own.model} with {options.preprocessing} preprocessing"
    if options.precision not in (None, "auto", own.precision):
        return f"{own.model} in {options.precision}"
    if options.pooling not in (None, own.pooling):
        return f"{own.model} with {options.pooling} pooling"
    if options.resample not in (None, own.resample):
        return f"{own.model} with {options.resample} resampling"
    if options.size is not None and with_size(own.size, options.size, own.model) != own.size:
        return f"{own.model} at {options.size} pixels"
    if options.quality is not None and model == "auto":
        wanted = resolve(
            EncoderChoice(quality=options.quality, pooling=options.pooling, size=options.size)
        )
        if (wanted.model, wanted.size) != (own.model, own.size):
            return f"the {options.quality} quality ({wanted.title})"
    if options.weights is not None:
        path = Path(absolute(options.weights))
        if not path.is_file() or sha256_of(path) != own.weights_sha256:
            return f"{own.model} with the weights {path}"
    return ""


def _with_given_file(own: EncoderSpec, options: IndexOptions) -> EncoderSpec:
    """The library's encoder, its file at the place that the options name (the same bytes)."""
    model = options.model or ""
    given = model if model.lower().endswith(FILE_SUFFIXES) else options.weights
    return replace(own, weights_file=absolute(given)) if given else own


def _mismatch(writing: Writing, own: EncoderSpec, asked: str) -> EncoderMismatch:
    return EncoderMismatch(
        f"The library {writing.folder} was built with {own.title}, and {asked} was asked for.",
        "Leave out what names an encoder (--model, --quality, --size, --pooling and the like) to "
        "go on with its own, or choose another --library for the new one.",
    )
