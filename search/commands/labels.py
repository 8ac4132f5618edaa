"""``parecido labels``: the ImageNet classes of pictures."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options, fail, print_json, quiet_decoders
from parecido.indexer.system.text import printable
from parecido.search.commands.shared import (
    device_option,
    encode_files,
    json_option,
    model_option,
    open_encoder_for,
)

__all__ = ["labels_command"]


@click.command("labels")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-k", type=click.IntRange(1, 1000), default=5, show_default=True, help="Classes for each."
)
@model_option
@json_option
@device_option
@common_options
def labels_command(
    images: tuple[str, ...],
    k: int,
    model: str | None,
    as_json: bool,
    device: str,
    library: str | None,
) -> None:
    """Print the ImageNet classes of pictures."""
    from parecido.indexer.errors import EncoderUnavailable, PathNotFound, PictureUnreadable

    encoder = open_encoder_for(model, device, library)
    failed = False
    for image in images:
        try:
            with quiet_decoders():
                labels = encode_files(encoder, (image,), k).labels[0]
        except (PathNotFound, PictureUnreadable) as error:
            failed = True
            fail(error.message, error.remedy)
            continue
        if not labels:
            raise EncoderUnavailable(
                f"{encoder.spec.title} has no ImageNet classifier.",
                "Choose one that has: --model efficientnet-lite0.",
            )
        if as_json:
            print_json({"image": image, "labels": [[n, round(p, 6), i] for n, p, i in labels]})
            continue
        click.echo(printable(image))
        for name, probability, _ in labels:
            click.echo(f"  {probability:6.1%}  {name}")
    if failed:
        raise SystemExit(1)
