"""int8 inside the network: post-training quantisation, calibrated on the library's own pictures.

OpenVINO runs the result, NNCF makes it, in a child process.  What the pictures decide cannot be
made again without them, so the model is a part of the library, in its folder ``encoder``, and its
digest a part of the encoder's fingerprint.

The recipe is the one that was measured (EfficientNet-Lite0, 1212 photographs of 101 categories,
float32 69.9 mAP): the network alone, from the pixels to its last feature map, symmetric ranges,
biases corrected, calibrated on 300 pictures: within 0.4 of float32's mAP.  Calibrated on noise it
comes to 37; with pooling and normalisation quantised too, to 61.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parecido.indexer.encoders.building.feature_map import feature_map, sources
from parecido.indexer.encoders.machine.child import run_in_child
from parecido.indexer.encoders.machine.devices import gpu_visible
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.encoders.networks.base import POOLINGS
from parecido.indexer.errors import EncoderUnavailable, InvalidRequest, PictureUnreadable
from parecido.indexer.pictures.decode import Limits, decode
from parecido.indexer.pictures.read import probe
from parecido.indexer.records.encoder import QUANTISED_FOLDER, EncoderSpec
from parecido.indexer.system.files import file_digest
from parecido.indexer.system.kinds import (
    MODELS,
    PIXELS,
    WORK,
    WORK_MARK,
    WORK_MARK_NAME,
    any_content,
    is_blank,
)
from parecido.indexer.system.own_files import (
    create_file,
    is_folder,
    is_own,
    own_files,
    place_folder,
    remove_folder,
    replacing,
    work_folder,
)

__all__ = [
    "CALIBRATION_FILES",
    "check_can_quantise",
    "drop_quantised",
    "is_own_model",
    "quantise",
    "quantise_in_child",
    "quantised_model",
]

CALIBRATION_FILES = 4096
"""The first so many files of a collection are those among which pictures are chosen."""

_PICTURES = 300
_FEWEST = 100
_AT_ONCE = 32  # decoded together: 5 MB at 224 × 224
_FILES = ("model.bin", "model.xml")
# the last line of model.xml, which tells the digest of model.bin
_MARK = "\n<!-- made by parecido; SHA-256 of model.bin: {} -->\n"
_MARKED = re.compile(_MARK.format("([0-9a-f]{64})").encode() + rb"\Z")
_WORK_FOLDERS = {"model": MODELS, "pictures": PIXELS}
# Of descriptors to float32's, mean over the pictures looked at.  EfficientNet-Lite0 has 0.99, and
# 0.49 where it was calibrated on noise.
_LEAST_COSINE = 0.9
_LOOKED_AT = 32

_log = logging.getLogger("parecido")

Pixels = npt.NDArray[np.uint8]


def check_can_quantise(device: str) -> None:
    """Refuse int8 before any work where it cannot be had."""
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


def quantised_model(spec: EncoderSpec, library: Path | None) -> Path:
    """The folder with a library's quantised model, checked.

    Raises :class:`~parecido.EncoderUnavailable` where it is missing or not the one that the
    library's descriptors were made with.
    """
    if library is None:
        raise EncoderUnavailable(
            f"The model of {spec.title} lies in the library that it was calibrated for, and no "
            "library was named.",
            "Open it with its library's folder, or use another precision.",
        )
    folder = library / QUANTISED_FOLDER
    remedy = "Put it back from a backup; without one, index into a new library."
    try:
        found = _digest(folder)
    except OSError as error:
        missing = error.filename or folder
        raise EncoderUnavailable(
            f"The library's quantised model cannot be read: {missing}: {error.strerror}.", remedy
        ) from error
    if found != spec.calibration:
        raise EncoderUnavailable(
            f"The library's quantised model in {folder} is damaged: expected SHA-256 "
            f"{spec.calibration[:16]}…, got {found[:16]}….",
            remedy,
        )
    return folder


def drop_quantised(library: Path, calibration: str = "") -> None:
    """Remove a quantised model that belongs to no descriptor, and what a killed run left.

    ``calibration`` is the digest of the model that the catalogue tells, if any.
    """
    folder = library / QUANTISED_FOLDER
    if is_own_model(folder, calibration):
        remove_folder(folder, MODELS)
    for name in os.listdir(library):
        work = library / name
        if not WORK.fullmatch(name) or not is_folder(work) or not os.access(work, os.R_OK):
            continue
        if own_files(work, WORK_MARK) or not os.listdir(work):
            remove_folder(work, WORK_MARK, _WORK_FOLDERS)


def is_own_model(folder: Path, calibration: str = "") -> bool:
    """Whether a folder holds a model that was quantised here, or nothing, and nothing else.

    Models from before they had a mark are known by their digest alone.
    """
    if not is_folder(folder) or not os.access(folder, os.R_OK | os.X_OK):
        return False
    names = os.listdir(folder)
    if set(names) - set(_FILES):
        return False
    files = [folder / name for name in names]
    if all(is_own(path, is_blank) for path in files):
        return True
    if len(files) < len(_FILES) or not all(is_own(path, any_content) for path in files):
        return False
    marked = _MARKED.search((folder / "model.xml").read_bytes()[-200:])
    if marked is not None and marked[1].decode() == file_digest(folder / "model.bin"):
        return True
    return _digest(folder) == calibration


def quantise(
    spec: EncoderSpec,
    export: Callable[[EncoderSpec], Path],
    files: Sequence[Path],
    library: Path,
    limits: Limits,
    stop: Callable[[], bool] = lambda: False,
) -> EncoderSpec:
    """Make the int8 encoder of a library that holds no pictures yet; its spec.

    ``spec`` is the float32 encoder's, and ``export`` gives the folder with its model; ``files`` are
    those of the collection.  Whatever model the library had must have been dropped, and the writer
    lock must be held.  The library's folder ``encoder`` appears whole or not at all.  Raises
    ``InvalidRequest`` for fewer than 100 different pictures.
    """
    if spec.pooling not in POOLINGS:
        raise InvalidRequest(
            f"int8 goes with the poolings {', '.join(POOLINGS)}, got {spec.pooling}.",
            "Choose one with --pooling, or use --precision half.",
        )
    if os.path.lexists(library / QUANTISED_FOLDER):
        raise InvalidRequest(
            f"{library / QUANTISED_FOLDER} holds what is not the library's; nothing was changed.",
            "Move it out of the library's folder.",
        )
    # a name of its own: the child of a killed run may still be writing into the former one
    with work_folder(library, f"{QUANTISED_FOLDER}.new-", WORK_MARK, _WORK_FOLDERS) as work:
        with create_file(work / WORK_MARK_NAME):
            pass
        pictures, made = work / "pictures", work / "model"
        pictures.mkdir()
        made.mkdir()
        count = 0
        for count, pixels in enumerate(_chosen(files, spec, limits, stop), 1):
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
    digest = _digest(library / QUANTISED_FOLDER)
    return replace(spec, precision="int8", calibration=digest)


def _digest(folder: Path) -> str:
    """SHA-256 over the digests of the model's files."""
    digests = {name: file_digest(folder / name) for name in _FILES}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _chosen(
    files: Sequence[Path], spec: EncoderSpec, limits: Limits, stop: Callable[[], bool]
) -> Iterator[Pixels]:
    """Up to 300 different pictures ``(h, w, 3)``, evenly from among the files.

    What is no picture is passed over; the same bytes count once.
    """

    def read(file: Path) -> tuple[bytes, Pixels] | None:
        try:
            data = probe(file, limits)
            return hashlib.sha256(data).digest(), decode(data, spec, limits).pixels
        except PictureUnreadable:
            return None

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
                    if len(seen) == _PICTURES:
                        return


def _spread(count: int) -> list[int]:
    """The numbers below ``count``, every beginning of the list evenly spread among them."""
    bits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))


# -- in the child --------------------------------------------------------------------------------


def quantise_in_child(request: dict[str, Any]) -> dict[str, Any]:
    """What :func:`quantise` asks a child for: the model in ``request["folder"]``."""
    openvino = import_openvino()  # before NNCF imports it
    try:
        nncf: Any = importlib.import_module("nncf")
    except ImportError as error:
        raise EncoderUnavailable(
            f"NNCF cannot be imported: {error}.", "Install it again: pip install 'parecido[int8]'."
        ) from error
    spec = EncoderSpec.from_json(request["spec"])
    files = sorted(Path(request["pictures"]).iterdir())
    target = Path(request["folder"]) / "model.xml"
    model = openvino.Core().read_model(request["model"])
    try:
        tail = _tail(model, spec.pooling)
        nncf.set_log_level(logging.ERROR)
        quantised = nncf.quantize(
            model,
            nncf.Dataset(files, lambda file: np.load(file)[None]),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            target_device=nncf.TargetDevice.CPU,
            subset_size=_PICTURES,
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(names=tail),
        )
        openvino.save_model(quantised, target, compress_to_fp16=False)
        text = target.read_bytes() + _MARK.format(file_digest(target.with_suffix(".bin"))).encode()
        with replacing(target, any_content) as file:
            file.write(text)
        cosine = _mean_cosine(Path(request["model"]), target, files[:_LOOKED_AT])
    except Exception as error:  # an operation that NNCF does not have, a full disk
        raise EncoderUnavailable(
            f"NNCF cannot quantise {spec.title} ({type(error).__name__}: {str(error)[:200]}).",
            "Use --precision half.",
        ) from error
    if not cosine >= _LEAST_COSINE:  # false for NaN too
        raise EncoderUnavailable(
            f"{spec.title} does not bear int8: its descriptors agree with float32's to a cosine of "
            f"{cosine:.3f}, expected {_LEAST_COSINE} or more.",
            "Use --precision half.",
        )
    return {}


def _tail(model: Any, pooling: str) -> list[str]:
    """Names of all operations after the network's last feature map, the results left out."""
    features = feature_map(model, pooling)[0].get_node()
    while features.get_type_name() == "Transpose":  # back to the layer that made it
        features = sources(features)[0]
    tail: dict[str, None] = {}
    waiting = [features]
    while waiting:
        for output in waiting.pop().outputs():
            for user in (target.get_node() for target in output.get_target_inputs()):
                if user.get_type_name() != "Result" and user.get_friendly_name() not in tail:
                    tail[user.get_friendly_name()] = None
                    waiting.append(user)
    return list(tail)


def _mean_cosine(plain: Path, quantised: Path, files: Sequence[Path]) -> float:
    """Mean cosine of the descriptors of two models."""
    core = import_openvino().Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    models = [core.compile_model(path, "CPU", options) for path in (plain, quantised)]
    cosines = []
    for file in files:
        pixels = np.load(file)[None]
        one, other = (model([pixels])[0] for model in models)
        lengths = np.linalg.norm(one) * np.linalg.norm(other)
        cosines.append(float((one * other).sum() / lengths))
    return float(np.mean(cosines))
