"""Why two pictures match, with the real network: the map sums to the score, and finds the thing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from parecido.indexer.encoders.encoder import Encoder, FeatureMaps
from parecido.indexer.encoders.opening import load_encoder
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.learning.space import Space
from parecido.indexer.library.library import Library
from parecido.indexer.records.regions import Region
from parecido.search.engine import Engine
from parecido.search.explaining.contributions import Why, why
from parecido.search.explaining.explanation import GivenPicture, explain
from tests.support.real import photographs

pytestmark = [pytest.mark.network]

BACK = (448, 336)
BACKGROUNDS = ("china", "flower", "rocket", "astronaut")
PLACES = ((0, 0), (1, 0), (0.5, 0.5), (0, 1), (1, 1))
THINGS = {
    "cup": ("coffee", (155, 10, 470, 310)),
    "face": ("chelsea", (90, 40, 390, 290)),
    "wheel": ("motorcycle_left", (490, 230, 705, 460)),
}
Box = tuple[int, int, int, int]
Pixels = npt.NDArray[np.uint8]


def photograph(name: str) -> Image.Image:
    (path,) = [path for path in photographs() if path.stem == name]
    return opened(path)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def encoder_with(pooling: str) -> Encoder:
    return load_encoder("efficientnet-lite0", pooling=pooling, precision="float32", device="cpu")


@pytest.fixture(scope="module")
def lite() -> Encoder:
    return encoder_with("avg")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, lite: Encoder) -> Iterator[list[Engine]]:
    """Engines on libraries of seven photographs, with average pooling and with the default."""
    folder = tmp_path_factory.mktemp("explain")
    with ExitStack() as stack:
        found = []
        for encoder in (lite, load_encoder("efficientnet-lite0", device="cpu")):
            library = stack.enter_context(Library.create(folder / encoder.spec.pooling))
            index(library, photographs(), encoder=encoder)
            found.append(stack.enter_context(Engine(library, encoder=encoder)))
        yield found


@pytest.fixture(params=[0, 1], ids=["average", "default"])
def engine(request: pytest.FixtureRequest, engines: list[Engine]) -> Engine:
    return engines[request.param]


def network_size(encoder: Encoder, image: Image.Image) -> Pixels:
    return np.asarray(image.resize(encoder.spec.size.target(*image.size), Image.Resampling.BICUBIC))


def of(encoder: Encoder, one: FeatureMaps, other: FeatureMaps, space: Space | None = None) -> Why:
    return why(one, other, encoder.spec.pooling, space, encoder.window)


def test_the_map_of_a_search_sums_to_the_score_that_it_tells(engine: Engine) -> None:
    for path in map(str, photographs()):
        for hit in engine.search(path, k=6).hits:
            found = explain(engine, GivenPicture(path), GivenPicture(hit.path)).why
            assert found.score == pytest.approx(hit.score, abs=1e-6)
            for side in (found.query, found.hit):
                assert side.sum == pytest.approx(hit.score, abs=1e-4)
            assert abs(found.residual) < 1e-4


def test_a_part_and_a_foreign_picture_are_explained_as_they_are_searched_for(
    engine: Engine, tmp_path: Path
) -> None:
    path, part = str(photographs()[0]), Region.parse("10%,20%,50%,60%")
    hit = engine.search(path, region=part, k=1, include_self=True).hits[0]
    found = explain(engine, GivenPicture(path, part), GivenPicture(hit.path))
    width, height = opened(photographs()[0]).size
    assert found.query.box == part.box(width, height)
    assert found.hit.box == (0, 0, found.hit.width, found.hit.height)
    assert found.why.score == pytest.approx(hit.score, abs=1e-6)
    assert found.why.query.sum == pytest.approx(hit.score, abs=1e-4)

    turned = photograph("coffee").rotate(90, expand=True)
    turned.save(tmp_path / "turned.png")
    for given in (str(tmp_path / "turned.png"), (tmp_path / "turned.png").read_bytes()):
        best = engine.search_bytes((tmp_path / "turned.png").read_bytes(), k=1).hits[0]
        seen = explain(engine, GivenPicture(given), GivenPicture(best.path))
        assert seen.why.score == pytest.approx(best.score, abs=1e-6)
        assert seen.why.query.sum == pytest.approx(best.score, abs=1e-4)
        assert (seen.query.width, seen.query.height) == turned.size
        rows, columns = seen.why.query.cells.shape
        assert rows > columns


@pytest.mark.parametrize("pooling", ["avg", "gem", "rgem", "max"])
def test_every_pooling_and_a_learned_space_sum_to_the_cosine(pooling: str) -> None:
    encoder = encoder_with(pooling)
    found = encoder.maps([network_size(encoder, opened(p)) for p in photographs()])
    rows = np.stack([maps.descriptor for maps in found])
    # PCA of the descriptors, half whitened, as a library learns it
    mean = rows.mean(axis=0)
    _, values, directions = np.linalg.svd(rows - mean, full_matrices=False)
    space = Space(mean, (directions[:6] / np.sqrt(values[:6])[:, None]).astype(np.float32))
    differs = 0
    for one, other in itertools.permutations(range(len(found)), 2):
        plain = of(encoder, found[one], found[other])
        assert plain.score == pytest.approx(float(rows[one] @ rows[other]), abs=1e-5)
        placed = space.apply(rows[[one, other]])
        turned = of(encoder, found[one], found[other], space)
        assert turned.score == pytest.approx(float(placed[0] @ placed[1]), abs=1e-5)
        for seen in (plain, turned):
            assert seen.query.sum == pytest.approx(seen.score, abs=1e-4)
            assert seen.hit.sum == pytest.approx(seen.score, abs=1e-4)
        assert plain.query.cells.min() >= 0  # the network ends in ReLU6
        differs += turned.query.cells.min() < 0
    assert differs > 20


def planted(background: str, thing: str, share: float, place: tuple[float, float]) -> Image.Image:
    """A photograph with a round cut-out of another in it."""
    image = photograph(background).resize(BACK)
    cut, box = cut_out(thing, share), box_of(thing, share, place)
    mask = Image.new("L", cut.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, cut.width - 1, cut.height - 1), fill=255)
    image.paste(cut, box[:2], mask)
    return image


def cut_out(thing: str, share: float) -> Image.Image:
    source, part = THINGS[thing]
    whole = photograph(source).crop(part)
    width = int(BACK[0] * share)
    return whole.resize((width, int(width * whole.height / whole.width)))


def box_of(thing: str, share: float, place: tuple[float, float]) -> Box:
    width, height = cut_out(thing, share).size
    left, top = round(place[0] * (BACK[0] - width)), round(place[1] * (BACK[1] - height))
    return left, top, left + width, top + height


@pytest.mark.parametrize("thing", THINGS)
def test_a_thing_planted_in_two_unrelated_photographs_holds_both_maps_peaks(
    engines: list[Engine], thing: str
) -> None:
    average, default = (engine.encoder for engine in engines)
    assert peaks_within(average, thing) == (120, 120)
    # regional pooling lets places speak for their neighbours: one in fifty peaks lies beside
    within, looked_at = peaks_within(default, thing)
    assert looked_at == 120
    assert within >= 114


def peaks_within(encoder: Encoder, thing: str, share: float = 0.45) -> tuple[int, int]:
    """How many maps have the middle of their strongest cell within the thing, and how many maps.

    The thing lies in either picture of a pair, in other places.  With regional pooling a cell that
    touches it counts.
    """
    touching = 0.5 if encoder.window else 0.0
    keys = list(itertools.product(BACKGROUNDS, PLACES))
    pictures = [network_size(encoder, planted(back, thing, share, place)) for back, place in keys]
    maps = dict(zip(keys, encoder.maps(pictures), strict=True))
    bare = [network_size(encoder, photograph(back).resize(BACK)) for back in BACKGROUNDS]
    alone = dict(zip(BACKGROUNDS, encoder.maps(bare), strict=True))
    within = looked_at = 0
    for one, other in itertools.permutations(BACKGROUNDS, 2):
        assert of(encoder, alone[one], alone[other]).score < 0.45  # it is the thing that is shared
        for number, place in enumerate(PLACES):
            elsewhere = PLACES[(number + 2) % len(PLACES)]
            found = of(encoder, maps[one, place], maps[other, elsewhere])
            assert found.score > of(encoder, alone[one], alone[other]).score
            for side, where in ((found.query, place), (found.hit, elsewhere)):
                (row, column), (rows, columns) = side.peak, side.cells.shape
                across, down = BACK[0] / columns, BACK[1] / rows
                left, top, right, bottom = box_of(thing, share, where)
                x, y = (column + 0.5) * across, (row + 0.5) * down
                within += (
                    left - touching * across <= x <= right + touching * across
                    and top - touching * down <= y <= bottom + touching * down
                )
                looked_at += 1
    return within, looked_at
