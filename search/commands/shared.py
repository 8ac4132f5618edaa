"""What commands of the read side share: options, and an encoder for pictures that are named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from parecido.indexer.records.choices import DEVICES

if TYPE_CHECKING:
    from parecido.indexer.encoders.encoder import Encoder
    from parecido.indexer.records.pictures import Encoding

__all__ = ["device_option", "encode_files", "json_option", "model_option", "open_encoder_for"]

device_option = click.option(
    "--device", type=click.Choice(DEVICES), default="cpu", show_default=True
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one document a line."
)
model_option = click.option(
    "--model", metavar="NAME", help="Encoder.  [default: the library's, or auto]"
)


def open_encoder_for(model: str | None, device: str, library: str | None) -> Encoder:
    """The encoder that was asked for, else the library's, else what suits this machine."""
    from parecido.indexer.encoders.opening import load_encoder, open_encoder
    from parecido.indexer.errors import LibraryNotFound
    from parecido.indexer.library.library import Library

    if model is None:
        try:
            with Library.open(library) as opened:
                spec, folder = opened.encoder, opened.folder
            if spec is not None:
                return open_encoder(spec, device=device, streams=1, folder=folder)
        except LibraryNotFound:
            pass  # these commands need no library
    return load_encoder(model or "auto", device=device)


def encode_files(encoder: Encoder, images: tuple[str, ...], k: int) -> Encoding:
    """Encode files; one that is not there or not readable is named."""
    from parecido.indexer.errors import PathNotFound

    paths = [os.path.expanduser(image) for image in images]
    for path in paths:
        if not os.path.lexists(path):
            raise PathNotFound(f"{path} is not there.", "Check the path.")
    return encoder.encode_files(paths, labels=k)
