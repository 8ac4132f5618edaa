"""The quantised model that is a part of its library: checked, told from others' files, removed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.records.encoder import QUANTISED_FOLDER, EncoderSpec
from parecido.indexer.system.files import file_digest
from parecido.indexer.system.kinds import MODELS, PIXELS, WORK, WORK_MARK, any_content, is_blank
from parecido.indexer.system.own_files import is_folder, is_own, own_files, remove_folder, replacing

__all__ = [
    "WORK_FOLDERS",
    "digest_of",
    "drop_quantised_model",
    "is_own_model",
    "mark_model",
    "quantised_model",
]

_FILES = ("model.bin", "model.xml")
# the last line of model.xml, which tells the digest of model.bin
_MARK = "\n<!-- made by parecido; SHA-256 of model.bin: {} -->\n"
_MARKED = re.compile(_MARK.format("([0-9a-f]{64})").encode() + rb"\Z")
# what the folder of a run holds that is quantising
WORK_FOLDERS = {"model": MODELS, "pictures": PIXELS}


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
        found = digest_of(folder)
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


def drop_quantised_model(library: Path, calibration: str = "") -> None:
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
            remove_folder(work, WORK_MARK, WORK_FOLDERS)


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
    return digest_of(folder) == calibration


def mark_model(path: Path) -> None:
    """End a ``model.xml`` with the line by which :func:`is_own_model` knows it."""
    text = path.read_bytes() + _MARK.format(file_digest(path.with_suffix(".bin"))).encode()
    with replacing(path, any_content) as file:
        file.write(text)


def digest_of(folder: Path) -> str:
    """SHA-256 over the digests of the model's files."""
    digests = {name: file_digest(folder / name) for name in _FILES}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
