"""int8 inside the network: post-training quantisation, calibrated on the library's own pictures.

OpenVINO runs the result, NNCF makes it, in a child process (:mod:`.quantise_work`).  What the
pictures decide cannot be made again without them, so the model is a part of the library, in its
folder ``encoder``, and its digest a part of the encoder's fingerprint.

The recipe is the one that was measured (EfficientNet-Lite0, 1212 photographs of 101 categories,
float32 69.9 mAP): the network alone, from the pixels to its last feature map, symmetric ranges,
biases corrected, calibrated on 300 pictures: within 0.4 of float32's mAP.  Calibrated on noise it
comes to 37; with pooling and normalisation quantised too, to 61.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from parecido.indexer.arrays import Pixels
from parecido.indexer.encoders.building.quantised_model import WORK_FOLDERS, digest_of
from parecido.indexer.encoders.machine.child import run_in_child
from parecido.indexer.encoders.machine.devices import gpu_visible
from parecido.indexer.errors import EncoderUnavailable, InvalidRequest
from parecido.indexer.records.choices import MAP_POOLINGS
from parecido.indexer.records.encoder import QUANTISED_FOLDER, EncoderSpec
from parecido.indexer.system.kinds import WORK_MARK, WORK_MARK_NAME
from parecido.indexer.system.own_files import create_file, place_folder, work_folder

__all__ = ["CALIBRATION_FILES", "PICTURES", "check_can_quantise", "quantise"]

CALIBRATION_FILES = 4096
"""The first so many files of a collection are those among which pictures are chosen."""

PICTURES = 300
"""So many of them, or fewer where there are no more, are what a model is calibrated on."""
_FEWEST = 100
_AT_ONCE = 32  # decoded together: 5 MB at 224 × 224

_log = logging.getLogger("parecido")

Read = Callable[[Path], tuple[bytes, Pixels] | None]


def check_can_quantise(device: str) -> None:
    """Refuse int8 before any work where it cannot be obtained."""
    if device == "gpu" or (device == "auto" and gpu_visible()):
        raise EncoderUnavailable(
            "int8 is for CPUs, and a GPU would be used here.",
            "Use --precision half on the GPU, or add --device cpu.",
        )
    for package, remedy in (
        ("openvino", "Install it: pip install openvino; or use --precision float32."),
        ("nncf", "Install it: pip install 'parecido[int8]'."),
    ):
        if importlib.util.find_spec(package) is None:
            raise EncoderUnavailable(f"int8 needs the package {package}, which is missing.", remedy)


def quantise(
    spec: EncoderSpec,
    export: Callable[[EncoderSpec], Path],
    files: Sequence[Path],
    library: Path,
    read: Read,
    stop: Callable[[], bool] = lambda: False,
) -> EncoderSpec:
    """Make the int8 encoder of a library that holds no pictures yet; its spec.

    ``spec`` is the float32 encoder's, and ``export`` gives the folder with its model; ``files`` are
    those of the collection, and ``read`` gives the hash of a file's bytes and its pixels, or None
    for what is no picture.  Whatever model the library had must have been dropped, and the writer
    lock must be held.  The library's folder ``encoder`` appears whole or not at all.  Raises
    ``InvalidRequest`` for fewer than 100 different pictures.
    """
    if spec.pooling not in MAP_POOLINGS:
        raise InvalidRequest(
            f"int8 goes with the poolings {', '.join(MAP_POOLINGS)}, got {spec.pooling}.",
            "Choose one with --pooling, or use --precision half.",
        )
    if os.path.lexists(library / QUANTISED_FOLDER):
        raise InvalidRequest(
            f"{library / QUANTISED_FOLDER} holds what is not the library's; nothing was changed.",
            "Move it out of the library's folder.",
        )
    # a name of its own: the child of a killed run may still be writing into the former one
    with work_folder(library, f"{QUANTISED_FOLDER}.new-", WORK_MARK, WORK_FOLDERS) as work:
        with create_file(work / WORK_MARK_NAME):
            pass
        pictures, made = work / "pictures", work / "model"
        pictures.mkdir()
        made.mkdir()
        count = 0
        for count, pixels in enumerate(_choose(files, read, stop), 1):
            with create_file(pictures / f"{count:04d}.npy") as file:
                np.lib.format.write_array(file, pixels)
        if stop():
            raise EncoderUnavailable("Interrupted before the encoder was calibrated.")
        if count < _FEWEST:
            raise InvalidRequest(
                f"int8 is calibrated on the library's own pictures: expected {_FEWEST} different "
                f"ones or more, found {count}.",
                "Index more pictures at first, or use --precision half.",
            )
        folder = export(spec)
        _log.info("Quantising %s, calibrated on %d pictures; it is done once.", spec.title, count)
        run_in_child(
            {
                "do": "quantise",
                "spec": spec.to_json(),
                "model": str(folder / "model.xml"),
                "pictures": str(pictures),
                "folder": str(made),
            }
        )
        place_folder(made, library / QUANTISED_FOLDER)
    digest = digest_of(library / QUANTISED_FOLDER)
    return replace(spec, precision="int8", calibration=digest)


def _choose(files: Sequence[Path], read: Read, stop: Callable[[], bool]) -> Iterator[Pixels]:
    """Up to 300 different pictures ``(h, w, 3)``, evenly from among the files.

    What is no picture is passed over; the same bytes count once.
    """
    order = _spread(len(files))
    seen: set[bytes] = set()
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="calibration") as pool:
        for start in range(0, len(order), _AT_ONCE):
            if stop():
                return
            for found in pool.map(read, [files[i] for i in order[start : start + _AT_ONCE]]):
                if found is not None and found[0] not in seen:
                    seen.add(found[0])
                    yield found[1]
                    if len(seen) == PICTURES:
                        return


def _spread(count: int) -> list[int]:
    """The numbers below ``count``, every beginning of the list evenly spread among them."""
    bits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
