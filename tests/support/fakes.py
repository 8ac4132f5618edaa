"""A fake encoder whose descriptors can be checked by hand, and pictures to give it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.records.encoder import EncoderSpec, SizePolicy

DIMENSION = 12


def fake_spec(**changes: object) -> EncoderSpec:
    """The fake encoder's spec; ``changes`` make another one of it."""
    values: dict[str, object] = {
        "model": "fake",
        "pooling": "avg",
        "dimension": DIMENSION,
        "weights_sha256": "0" * 64,
        "preprocessing": "none",
        "size": SizePolicy(32, 32, step=8),
        **changes,
    }
    return EncoderSpec(**values)  # type: ignore[arg-type]


class FakeRuntime:
    """The descriptor is the mean colour of each quadrant: 4 × RGB, in reading order, plus one.

    Plus one, so that black has a direction too.  Where more than 12 numbers are wanted, these are
    repeated.  Counts what it is given.
    """

    name = "fake"

    def __init__(self, batch_size: int = 4, dimension: int = DIMENSION) -> None:
        self.batch_size = self.bucket_size = batch_size
        self.pictures = 0
        self._times = dimension // DIMENSION

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        self.pictures += len(batch)
        return np.tile(quadrants(batch), self._times) / np.float32(self._times**0.5), None

    def run_with_maps(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None, npt.NDArray[np.float32]]:
        """With a map of 2 × 2 cells, each with its own quadrant's colour and zeros: its mean has
        the descriptor's direction.
        """
        descriptors, probabilities = self.run(batch)
        features = np.zeros((len(batch), 2, 2, descriptors.shape[1]), np.float32)
        own = np.arange(descriptors.shape[1]) // 3 % 4
        for cell in range(4):
            features[:, cell // 2, cell % 2] = descriptors * (own == cell)
        return descriptors, probabilities, features


def quadrants(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Unit rows ``(n, 12)`` for pictures ``(n, h, w, 3)``."""
    pixels = batch.astype(np.float64) + 1
    h, w = batch.shape[1] // 2, batch.shape[2] // 2
    parts = [pixels[:, :h, :w], pixels[:, :h, w:], pixels[:, h:, :w], pixels[:, h:, w:]]
    rows = np.concatenate([part.mean(axis=(1, 2)) for part in parts], axis=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def fake_encoder(batch_size: int = 4, **changes: object) -> Encoder:
    """An encoder that needs no network; ``encoder._runtime.pictures`` counts its work."""
    spec = fake_spec(**changes)
    return Encoder(spec, FakeRuntime(batch_size, spec.dimension))


def save_picture(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A file with four coloured quadrants, different for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    picture = Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)
    picture.save(path)
    return path


def save_pictures(folder: Path, count: int, suffix: str = ".png", first: int = 0) -> list[Path]:
    """``count`` different pictures, ``0000.png`` and so on."""
    return [
        save_picture(folder / f"{seed:04d}{suffix}", seed) for seed in range(first, first + count)
    ]
