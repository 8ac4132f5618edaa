"""The commands of the read side.  No logic here: options in, words out."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from indexer.terminal import common_options, debug_option, fail, print_json, quiet_decoders
from indexer.text import printable

if TYPE_CHECKING:
    from indexer.encoders import Encoder
    from indexer.errors import ParecidoError
    from indexer.records import Encoding
    from search.engine import Engine
    from search.results import Results

_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), default="cpu", show_default=True
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document a line.")


@click.command("search")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-k",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many hits.  [default: 10]",
)
@click.option(
    "--min-score", type=click.FloatRange(-1, 1), metavar="X", help="Leave out lower cosines."
)
@click.option(
    "--exact",
    is_flag=True,
    help="Look at every picture, however large the library.",
)
@click.option("--include-self", is_flag=True, help="Let an indexed picture find itself.")
@_json
@click.option("--paths", "as_paths", is_flag=True, help="Print paths only, one a line.")
@click.option("-0", "--null", is_flag=True, help="With --paths: end each with NUL, for xargs -0.")
@click.option(
    "--sheet", metavar="OUT.png", type=click.Path(), help="Write query and hits as one picture."
)
@_device
@common_options
def search_command(
    images: tuple[str, ...],
    k: int | None,
    min_score: float | None,
    exact: bool,
    include_self: bool,
    as_json: bool,
    as_paths: bool,
    null: bool,
    sheet: str | None,
    device: str,
    library: str | None,
) -> None:
    """Find the pictures most like a picture.

    IMAGE is a picture file, - for standard input, or an indexed path, whose stored descriptor is
    used and which is left out of its own hits.
    """
    if as_json and as_paths:
        raise click.UsageError("--json and --paths exclude each other.")
    if null and not as_paths:
        raise click.UsageError("-0 goes with --paths.")
    from indexer.errors import PathNotFound, PictureUnreadable
    from indexer.library import Library
    from search.engine import Engine

    if sheet:
        from search.sheet import check_target, write_sheet

        check_target(sheet)
    failed = False
    answered: list[tuple[Results, bytes | str]] = []
    with Library.open(library) as opened, Engine(opened, device=device) as engine:
        for image in images:
            try:
                with quiet_decoders():
                    results, source = _ask(engine, image, k, min_score, include_self, exact)
            except (PathNotFound, PictureUnreadable) as error:
                # one bad query among many is told, and the rest answered
                failed = True
                _fail_query(image, error)
                continue
            _print_results(results, as_json, as_paths, b"\0" if null else b"\n")
            if sheet:
                answered.append((results, source))
    if sheet and answered:
        with quiet_decoders():
            write_sheet(answered, sheet)
        click.echo(f"sheet written to {printable(sheet)}", err=True)
    if failed:
        raise SystemExit(1)


def _ask(
    engine: Engine,
    image: str,
    k: int | None,
    min_score: float | None,
    include_self: bool,
    exact: bool,
) -> tuple[Results, bytes | str]:
    if image == "-":
        data = _standard_input()
        return engine.search_bytes(data, k=k, min_score=min_score, exact=exact), data
    results = engine.search(image, k=k, min_score=min_score, include_self=include_self, exact=exact)
    return results, image


def _standard_input() -> bytes:
    """All of standard input, up to one byte more than is searched for."""
    from indexer.decode import Limits

    return b"" if sys.stdin is None else sys.stdin.buffer.read(Limits().bytes + 1)


def _fail_query(image: str, error: ParecidoError) -> None:
    from indexer.errors import PictureUnreadable

    if isinstance(error, PictureUnreadable):
        fail(f"{image} cannot be searched for: {error.reason}.", "Give a picture that opens.")
    else:
        fail(error.message, error.remedy)


def _print_results(results: Results, as_json: bool, as_paths: bool, end: bytes) -> None:
    from search.results import results_dict, results_text

    if as_json:
        print_json(results_dict(results))
    elif as_paths:
        # the file system's own bytes, whatever the terminal's encoding
        sys.stdout.flush()
        for hit in results.hits:
            sys.stdout.buffer.write(os.fsencode(hit.path) + end)
        sys.stdout.buffer.flush()
    else:
        click.echo(results_text(results, os.getcwd()) + "\n")


@click.command("compare")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option("--model", metavar="NAME", help="Encoder.  [default: the library's, or auto]")
@_json
@_device
@common_options
def compare_command(
    images: tuple[str, ...], model: str | None, as_json: bool, device: str, library: str | None
) -> None:
    """Print the cosines between given pictures.

    1 is the same picture; what two pictures of one thing reach depends on the encoder.
    """
    from search.engine import similarity_table
    from search.results import table_text

    if len(images) < 2:
        raise click.UsageError("Give at least two pictures.")
    encoder = _encoder(model, device, library)
    with quiet_decoders():
        encoding = _encode_named(encoder, images, 5)
    table = similarity_table(encoding.descriptors)
    if as_json:
        rows = [[round(float(x), 6) for x in row] for row in table]
        print_json({"images": list(images), "encoder": encoder.spec.title, "cosines": rows})
    else:
        click.echo(table_text(images, table))


@click.command("labels")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-k", type=click.IntRange(1, 1000), default=5, show_default=True, help="Classes for each."
)
@click.option("--model", metavar="NAME", help="Encoder.  [default: the library's, or auto]")
@_json
@_device
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
    from indexer.errors import EncoderUnavailable, PathNotFound, PictureUnreadable

    encoder = _encoder(model, device, library)
    failed = False
    for image in images:
        try:
            with quiet_decoders():
                labels = _encode_named(encoder, (image,), k).labels[0]
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


def _encoder(model: str | None, device: str, library: str | None) -> Encoder:
    """The encoder that was asked for, else the library's, else what suits this machine."""
    from indexer.encoders import load_encoder, open_encoder
    from indexer.errors import LibraryNotFound
    from indexer.library import Library

    if model is None:
        try:
            with Library.open(library) as opened:
                spec, folder = opened.encoder, opened.folder
            if spec is not None:
                return open_encoder(spec, device=device, streams=1, folder=folder)
        except LibraryNotFound:
            pass  # these commands need no library
    return load_encoder(model or "auto", device=device)


def _encode_named(encoder: Encoder, images: tuple[str, ...], k: int) -> Encoding:
    """Encode files; one that is not there or not readable is named."""
    from indexer.errors import PathNotFound

    paths = [os.path.expanduser(image) for image in images]
    for path in paths:
        if not os.path.lexists(path):
            raise PathNotFound(f"{path} is not there.", "Check the path.")
    return encoder.encode_files(paths, labels=k)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
def completion_command(shell: str) -> None:
    """Print a shell completion script.

    For bash: `parecido completion bash >> ~/.bashrc`; for zsh the same with ~/.zshrc; for fish:
    `parecido completion fish > ~/.config/fish/completions/parecido.fish`.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "parecido", "_PARECIDO_COMPLETE").source())
