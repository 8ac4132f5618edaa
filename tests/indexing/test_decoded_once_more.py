"""Pictures whose format is decoded otherwise by now are decoded once more, and no others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from parecido import Library, index
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.pictures.decoding.versions import decoder_versions
from parecido.indexer.pictures.formats.changes import DECODING, may_have_changed_since
from parecido.indexer.records.choices import FORMATS
from tests.support.fakes import FakeRuntime, fake_encoder

ONE = IndexOptions(workers=1, isolate=False)


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.gif", "d.ppm")):
        colour = (number * 40, 90, 200)
        if name.endswith(".png"):  # with transparency, over which the rules changed
            Image.new("RGBA", (40, 30), (*colour, 128)).save(folder / name)
        else:
            Image.new("RGB", (40, 30), colour).save(folder / name)
    Image.open(folder / "a.png").save(folder / "copy.png")
    return folder


def make_old(folder: Path, decoding: int = 1) -> None:
    """As if all pictures had been indexed by an older version of the rules."""
    with sqlite3.connect(folder / CATALOGUE) as connection:
        connection.execute("UPDATE pictures SET decoding = ?", (decoding,))
    connection.close()


def versions(library: Library) -> dict[str, int]:
    with sqlite3.connect(library.folder / CATALOGUE) as connection:
        rows = connection.execute("SELECT path, decoding FROM pictures").fetchall()
    connection.close()
    return {Path(path.decode()).name: number for path, number in rows}


def test_a_new_picture_keeps_the_version_of_the_rules(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l") as library:
        index(library, [pictures(tmp_path / "p")], ONE, encoder=fake_encoder())
        assert set(versions(library).values()) == {DECODING}


def test_only_what_may_look_otherwise_is_decoded_again_and_only_once(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p")
    with Library.create(tmp_path / "l") as library:
        index(library, [folder], ONE, encoder=fake_encoder())
    make_old(tmp_path / "l")
    with Library.create(tmp_path / "l") as library:
        encoder = fake_encoder()
        report = index(library, [folder], ONE, encoder=encoder)
        assert (report.updated, report.redecoded, report.unchanged, report.added) == (3, 3, 2, 0)
        runtime = encoder._runtime
        assert isinstance(runtime, FakeRuntime)
        assert runtime.pictures == 2  # the copy shares what was found
        assert versions(library) == {
            **dict.fromkeys(("a.png", "copy.png", "c.gif"), DECODING),
            **dict.fromkeys(("b.jpg", "d.ppm"), 1),
        }
        again = index(library, [folder], ONE, encoder=fake_encoder())
        assert (again.updated, again.redecoded, again.unchanged) == (0, 0, 5)


def test_what_has_nothing_of_what_changed_is_neither_decoded_nor_encoded(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("a.png", "b.bmp", "c.webp"):
        Image.new("RGB", (40, 30), (40, 90, 200)).save(folder / name)
    with Library.create(tmp_path / "l") as library:
        index(library, [folder], ONE, encoder=fake_encoder())
    make_old(tmp_path / "l")
    with Library.create(tmp_path / "l") as library:
        report = index(library, [folder], ONE, encoder=fake_encoder())
        assert (report.unchanged, report.redecoded, report.encoded) == (3, 0, 0)
        assert set(versions(library).values()) == {DECODING}


def test_a_run_that_was_interrupted_goes_on_with_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(60):
        colour = (number * 4, 90, 200, 128)
        Image.new("RGBA", (40, 30), colour).save(folder / f"{number:02d}.png")
    with Library.create(tmp_path / "l") as library:
        index(library, [folder], ONE, encoder=fake_encoder())
    make_old(tmp_path / "l")
    with Library.create(tmp_path / "l") as library:
        done: list[int] = []

        def stop() -> bool:
            return bool(done) and done[-1] >= 4

        first = index(
            library,
            [folder],
            ONE,
            encoder=fake_encoder(),
            progress=lambda report: done.append(report.updated),
            stop=stop,
        )
        assert first.interrupted
        assert 0 < first.updated < 60
        rest = index(library, [folder], ONE, encoder=fake_encoder())
        assert first.updated + rest.updated == 60
        assert set(versions(library).values()) == {DECODING}


def test_a_copy_keeps_the_version_of_what_it_shares(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p")
    with Library.create(tmp_path / "l") as library:
        index(library, [folder], ONE, encoder=fake_encoder())
    make_old(tmp_path / "l")
    other = tmp_path / "other"
    other.mkdir()
    (other / "copy.gif").write_bytes((folder / "c.gif").read_bytes())
    with Library.create(tmp_path / "l") as library:
        index(library, [other], ONE, encoder=fake_encoder())
        assert versions(library)["copy.gif"] == 1
        assert index(library, [other], ONE, encoder=fake_encoder()).redecoded == 1


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(40), b"words, words\n" * 9])
def test_what_a_decoder_failed_on_is_tried_once_with_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    folder = pictures(tmp_path / "p")
    (folder / "bad.png").write_bytes(content)
    asked: list[bytes] = []
    with Library.create(tmp_path / "l") as library:
        for version, tried in (("one", 1), ("one", 1), ("two", 2), ("two", 2)):
            for module in ("changed_files", "run"):
                name = f"parecido.indexer.indexing.{module}.decoder_versions"
                monkeypatch.setattr(name, lambda version=version: version)
            count_tries(monkeypatch, asked)
            report = index(library, [folder], ONE, encoder=fake_encoder())
            assert len(report.skipped) == 1
            assert len(asked) == tried


def count_tries(monkeypatch: pytest.MonkeyPatch, asked: list[bytes]) -> None:
    from parecido.indexer.indexing import workers
    from parecido.indexer.indexing.prepare import prepare

    def counted(entry, *rest):  # type: ignore[no-untyped-def]
        if entry.path.endswith(b"bad.png"):
            asked.append(entry.path)
        return prepare(entry, *rest)

    monkeypatch.setattr(workers, "prepare", counted)


def test_every_format_is_one_that_is_read_and_photographs_stay_as_they_are() -> None:
    changed = {form for form in FORMATS if may_have_changed_since(1, form)}
    assert "TIFF" in changed
    assert not changed & {"JPEG", "PPM", "PCX"}
    assert not any(may_have_changed_since(DECODING, form) for form in FORMATS)
    assert f"rules {DECODING}" in decoder_versions()
