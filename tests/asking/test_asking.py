"""More ways to ask: several pictures, with and without, parts, any orientation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from parecido import Engine, IndexOptions, Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.regions import Region
from parecido.search.asking.ask import Ask
from parecido.search.asking.views import orientations
from tests.support.fakes import fake_encoder, save_pictures

COUNT = 90
ALTERATIONS = [None, *Image.Transpose]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("asking")
    save_pictures(made / "pictures", COUNT)
    return made


@pytest.fixture(scope="module", params=["auto", "full"])
def engine(folder: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """With a space of the library's own, and in the encoder's."""
    with Library.create(folder / str(request.param)) as library:
        index(
            library,
            [folder / "pictures"],
            IndexOptions(dimension=request.param),
            encoder=fake_encoder(),
        )
        with Engine(library, encoder=fake_encoder()) as opened:
            yield opened


def placed(engine: Engine) -> dict[str, npt.NDArray[np.float64]]:
    """The name of each picture → its descriptor as it is compared."""
    gallery = engine.library.gallery()
    ids, rows = gallery.of(engine.library.catalogue.descriptors.ids().tolist())
    pictures = engine.library.catalogue.pictures(ids.tolist())
    return {
        Path(p.path).name: row.astype(np.float64) for p, row in zip(pictures, rows, strict=True)
    }


def expected(engine: Engine, queries: list[npt.NDArray[np.float64]], out: set[str]) -> list[str]:
    """Names of the ten best by the largest cosine with any of the queries, from NumPy alone."""
    scores = {
        name: max(float(row @ query / np.linalg.norm(query)) for query in queries)
        for name, row in placed(engine).items()
        if name not in out
    }
    return sorted(scores, key=lambda name: -scores[name])[:10]


def names(engine: Engine, ask: Ask) -> list[str]:
    return [Path(hit.path).name for hit in engine.ask(ask).hits]


def paths(folder: Path, *given: str) -> tuple[Path, ...]:
    return tuple(folder / "pictures" / f"{name}.png" for name in given)


def test_several_pictures_together_are_their_mean(engine: Engine, folder: Path) -> None:
    given = paths(folder, "0003", "0014", "0015")
    rows = placed(engine)
    mean = np.mean([rows[path.name] for path in given], axis=0)
    assert names(engine, Ask(given)) == expected(engine, [mean], {p.name for p in given})


def test_any_of_several_pictures_is_the_best_of_each(engine: Engine, folder: Path) -> None:
    given = paths(folder, "0003", "0014", "0015")
    rows = placed(engine)
    each = [rows[path.name] for path in given]
    found = engine.ask(Ask(given, together="any"), k=10)
    assert [Path(hit.path).name for hit in found.hits] == expected(
        engine, each, {p.name for p in given}
    )
    assert len({hit.id for hit in found.hits}) == 10
    first, second = (
        engine.ask(Ask(given, together="any"), k=5, offset=offset).hits for offset in (0, 5)
    )
    assert [hit.id for hit in (*first, *second)] == [hit.id for hit in found.hits]
    assert [hit.rank for hit in second] == [6, 7, 8, 9, 10]


def test_what_is_unlike_is_taken_away(engine: Engine, folder: Path) -> None:
    like, unlike = paths(folder, "0020", "0021")
    rows = placed(engine)
    wish = rows[like.name] - 0.5 * rows[unlike.name]
    ask = Ask((like,), (unlike,))
    assert names(engine, ask) == expected(engine, [wish], {like.name, unlike.name})
    assert engine.ask(ask).query == f"{like} - {unlike}"


def test_a_picture_turned_or_mirrored_finds_where_it_is_from(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    (origin,) = paths(folder, "0042")
    picture = Image.open(origin)
    for number, alteration in enumerate(ALTERATIONS):
        turned = tmp_path / f"turned{number}.png"
        (picture if alteration is None else picture.transpose(alteration)).save(turned)
        hit = engine.search(turned, any_orientation=True, k=1).hits[0]
        assert (Path(hit.path), round(hit.score, 3)) == (origin, 1.0)


def test_the_eight_orientations_are_all_different_and_begin_with_the_picture() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    views = orientations(pixels)
    assert np.array_equal(views[0], pixels)
    assert len({(view.shape, view.tobytes()) for view in views}) == 8
    assert {view.shape for view in views} == {(2, 3, 3), (3, 2, 3)}
    flipped = ImageOps.mirror(Image.fromarray(pixels))
    assert any(np.array_equal(view, np.asarray(flipped)) for view in views)


def test_a_region_is_searched_for_as_if_it_were_cut_out(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    (origin,) = paths(folder, "0050")
    region = Region.parse("25%,25%,50%,50%")
    picture = Image.open(origin)
    left, top, right, bottom = region.box(*picture.size)
    cut = tmp_path / "cut.png"
    picture.crop((left, top, right, bottom)).save(cut)
    whole = engine.search(origin, region=region, include_self=True, k=5).hits
    part = engine.search(cut, k=5).hits
    assert [hit.id for hit in whole] == [hit.id for hit in part]
    assert [h.score for h in whole] == pytest.approx([h.score for h in part], abs=1e-3)


def test_bytes_and_paths_may_be_mixed(engine: Engine, folder: Path) -> None:
    one, other = paths(folder, "0001", "0002")
    ask = Ask((one, other.read_bytes()))
    assert ask.name == f"{one} + -"
    out = [Path(hit.path).name for hit in engine.ask(ask, k=COUNT).hits]
    # what is given by its path is left out; bytes are nobody's
    assert one.name not in out
    assert other.name in out


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (Ask(()), "No picture was given"),
        (Ask((), ("b.png",)), "none that they should be like"),
        (Ask(("a.png", "b.png"), region=Region(0, 0, 5, 5)), "A region of one picture is meant"),
        (Ask(("a.png",), together="some"), "Expected together to be mean or any"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_asked_is_refused(engine: Engine, ask: Ask, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        engine.ask(ask)


def test_a_region_outside_is_refused(engine: Engine, folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="reaches outside the picture of 48 × 40"):
        engine.search(*paths(folder, "0001"), region=Region(40, 0, 20, 20))


def test_an_encoder_that_squeezes_to_an_oblong_refuses_to_turn(tmp_path: Path) -> None:
    def squeezing() -> Encoder:
        return fake_encoder(size=_oblong())

    save_pictures(tmp_path / "pictures", 3)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=squeezing())
        with (
            Engine(library, encoder=squeezing()) as engine,
            pytest.raises(InvalidRequest, match="cannot be turned"),
        ):
            engine.search(tmp_path / "pictures" / "0001.png", any_orientation=True)


def _oblong() -> object:
    from parecido.indexer.records.encoder import SizePolicy

    return SizePolicy(32, 48, step=8, keep_aspect=False)
