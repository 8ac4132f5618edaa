"""Descriptors without pictures, for libraries of sizes that nobody wants to encode.

They have the spectrum and the neighbourhoods of real ones.  Measured were 36,240 descriptors of
EfficientNet-Lite0, of 20 crops each of 1,812 photographs (objects, places, animals, things on a
table), and the figures below were chosen so that percentiles of the cosines agree:

=====================  ====  ====  ====  ====  ====
percentile             5 %   25 %  50 %  75 %  95 %
=====================  ====  ====  ====  ====  ====
nearest, real          0.76  0.88  0.93  0.96  0.98
nearest, synthetic     0.77  0.83  0.89  0.94  0.97
tenth, real            0.61  0.76  0.82  0.87  0.91
tenth, synthetic       0.59  0.75  0.82  0.87  0.92
hundredth, real        0.38        0.52        0.67
hundredth, synthetic   0.44        0.49        0.56
=====================  ====  ====  ====  ====  ====

A descriptor is the common mean plus a mixture of two kinds, a scene and a picture, each Gaussian
with the measured spectrum.  A scene has 1 to 39 pictures, so that a tenth neighbour may be
of the same scene or of another; how far a picture is from its scene differs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["descriptors", "stream"]

Rows = npt.NDArray[np.float32]

# the share of the variance about the mean in the first so many of 1280 directions, as measured
_DIRECTIONS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280)
_SHARES = (
    *(0.0, 0.0303, 0.0487, 0.0804, 0.1278, 0.2029, 0.3099, 0.4413),
    *(0.5885, 0.7371, 0.8683, 0.9353, 0.9759, 1.0),
)
_MEAN = 0.22  # squared length of the mean of unit descriptors: the cosine of two at random
_KIND = 0.6  # of a scene's variance, what it shares with all scenes of its kind
_NEAREST, _FARTHEST = 0.02, 0.5  # of a picture's variance, what is its own
_CHUNK = 4096


def descriptors(count: int, dimension: int, seed: int) -> Rows:
    """Unit rows ``(count, dimension)`` float32."""
    return np.concatenate(list(stream(count, dimension, seed)))


def stream(count: int, dimension: int, seed: int, shot: int = 0) -> Iterator[Rows]:
    """The same in pieces, so that a million need no more memory than their scenes.

    Another ``shot`` gives other pictures of the same scenes.
    """
    random = np.random.default_rng(seed)
    scales = np.sqrt(_spectrum(dimension) * (1 - _MEAN)).astype(np.float32)
    mean = np.zeros(dimension, np.float32)
    mean[-1] = 1  # beside the directions of most variance; an index turns them anyway
    mean *= np.sqrt(np.float32(_MEAN))
    kinds = random.standard_normal((max(4, round(np.sqrt(count))), dimension), np.float32)
    sizes = random.integers(1, 40, count // 20 + 40)
    scene_of = np.repeat(np.arange(len(sizes)), sizes)
    while len(scene_of) < count:
        scene_of = np.concatenate([scene_of, scene_of + len(sizes)])
    scene_of = scene_of[:count]
    shots = np.random.default_rng((seed, 0, shot))
    for start in range(0, count, _CHUNK):
        members = scene_of[start : start + _CHUNK]
        rows = np.empty((len(members), dimension), np.float32)
        for scene in np.unique(members):
            # by its own number, so that a scene is the same in two pieces
            chance = np.random.default_rng((seed, int(scene)))
            own = chance.standard_normal(dimension, np.float32)
            one, other = kinds[chance.integers(0, len(kinds), 2)]
            share = chance.uniform(0.5, 1)
            kind = np.sqrt(share) * one + np.sqrt(1 - share) * other
            rows[members == scene] = np.sqrt(_KIND) * kind + np.sqrt(1 - _KIND) * own
        apart = shots.uniform(_NEAREST, _FARTHEST, (len(members), 1)).astype(np.float32)
        noise = shots.standard_normal(rows.shape, np.float32)
        rows *= np.sqrt(1 - apart)
        rows += np.sqrt(apart) * noise
        rows *= scales
        rows += mean
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield rows


def _spectrum(dimension: int) -> npt.NDArray[np.float64]:
    """The variances of the directions, stretched from the measured 1280 to that many."""
    positions = np.linspace(0, _DIRECTIONS[-1], dimension + 1)
    # in between along a straight line over the logarithm, as spectra are
    shares = np.interp(np.log1p(positions), np.log1p(_DIRECTIONS), _SHARES)
    variances: npt.NDArray[np.float64] = np.diff(shares)
    return variances
