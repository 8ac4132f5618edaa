"""Pictures that lie in memory: arrays, PIL's pictures, open files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Union, cast

from PIL import Image

from parecido.indexer.errors import InvalidRequest, PictureUnreadable

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Content", "Source", "from_array", "list_sources", "to_content"]

Content: TypeAlias = Union[bytes, Image.Image]  # noqa: UP007  # PIL's class has no | at run time
"""A picture as it is decoded: the bytes of a file, or a picture that PIL has opened."""
Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image"
    " | npt.NDArray[Any]"
)
"""A picture file by its path, its bytes, a binary file that is open, a picture of PIL's, or an
array: ``uint8``, or floating point from 0 to 1; grey, RGB or RGBA, channels last."""

_SHAPES = "(height, width), (height, width, 1), (height, width, 3) or (height, width, 4)"


def to_content(given: object) -> Content | None:
    """What can be decoded of a picture in memory; None where it is something else, a path say.

    A picture of PIL's may have an EXIF orientation, which is applied when it is decoded; an open
    file is read from where it stands.  Raises :class:`~parecido.InvalidRequest` for a file that
    is not binary, and for what :func:`from_array` refuses.
    """
    import numpy as np

    if isinstance(given, (bytes, Image.Image)):
        return given
    if isinstance(given, (bytearray, memoryview)):
        return bytes(given)
    if isinstance(given, np.ndarray):
        return from_array(given)
    if not hasattr(given, "read") or hasattr(given, "__fspath__"):
        return None
    try:
        data = given.read()
    except OSError as error:
        raise PictureUnreadable(
            f"the file cannot be read ({error.strerror or error})", "unreadable"
        ) from error
    if not isinstance(data, bytes):
        raise InvalidRequest(
            f"Expected a binary file, got one that gives {type(data).__name__}.",
            'Open it with mode "rb".',
        )
    return data


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """A picture of an array: grey, RGB, or RGB with an alpha channel.

    ``uint8`` in 0..255, or floating point in 0..1; ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` or
    ``(h, w, 4)``.  Raises :class:`~parecido.InvalidRequest` for anything else.
    """
    import numpy as np

    shape, kind = array.shape, array.dtype
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InvalidRequest(
            f"Expected an array {_SHAPES}, got {shape}.", "One picture at a time, channels last."
        )
    if not array.size:
        raise InvalidRequest(
            f"The picture is empty: its shape is {shape}.", "Give one with pixels."
        )
    if np.issubdtype(kind, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InvalidRequest(
                "Expected numbers from 0 to 1 in an array of floating point.",
                "Divide by 255, or give uint8.",
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif kind != np.uint8:
        raise InvalidRequest(
            f"Expected an array of uint8, or of floating point from 0 to 1, got {kind}.",
            "Convert it: array.astype('uint8').",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def list_sources(given: Iterable[Source] | Source) -> Iterable[Source]:
    """Several pictures as they are, and one as a list of one."""
    import numpy as np

    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    if isinstance(given, kinds) or hasattr(given, "read"):
        return [cast("Source", given)]
    return given
