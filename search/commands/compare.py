"""``parecido compare``: the cosines between given pictures."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import common_options, print_json, quiet_decoders
from parecido.search.commands.shared import (
    device_option,
    encode_files,
    json_option,
    model_option,
    open_encoder_for,
)

__all__ = ["compare_command"]


@click.command("compare")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@model_option
@json_option
@device_option
@common_options
def compare_command(
    images: tuple[str, ...], model: str | None, as_json: bool, device: str, library: str | None
) -> None:
    """Print the cosines between given pictures.

    1 is the same picture; what two pictures of one thing reach depends on the encoder.
    """
    from parecido.search.engine import similarity_table
    from parecido.search.results import table_text

    if len(images) < 2:
        raise click.UsageError("Give at least two pictures.")
    encoder = open_encoder_for(model, device, library)
    with quiet_decoders():
        encoding = encode_files(encoder, images, 5)
    table = similarity_table(encoding.descriptors)
    if as_json:
        rows = [[round(float(x), 6) for x in row] for row in table]
        print_json({"images": list(images), "encoder": encoder.spec.title, "cosines": rows})
    else:
        click.echo(table_text(images, table))
