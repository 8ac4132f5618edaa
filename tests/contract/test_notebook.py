"""parecido in a notebook, run by a real kernel: pictures are indexed, found and shown."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import save_pictures
from tests.support.places import PYTHONPATH, REPOSITORY
from tests.support.waiting import PATIENCE

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

INDEX = """
from pathlib import Path

import numpy as np
from PIL import Image

import parecido
from parecido import Engine, Hit, Library, Results, index
from tests.support.fakes import fake_encoder

library = Library.create("library")
report = index(library, ["pictures"], encoder=fake_encoder())
engine = Engine(library, encoder=fake_encoder())
print(report.added, Path(parecido.__file__).resolve())
"""
# each is a query; all are the same picture
QUERIES = (
    '"pictures/0003.png"',
    'Path("pictures/0003.png")',
    'Path("pictures/0003.png").read_bytes()',
    'open("pictures/0003.png", "rb")',
    'Image.open("pictures/0003.png")',
    'np.asarray(Image.open("pictures/0003.png"))',
    'np.asarray(Image.open("pictures/0003.png")) / 255',
)
GONE = """
best = engine.search("pictures/0005.png", k=3)
Path(best.hits[0].path).unlink()
best
"""
FRAMED = """
part = Hit(1, 1, 0.5, best.hits[1].path, 48, 40, (), box=(0, 0, 1, 0.5))
Results("a part", best.encoder, 1.0, (part,))
"""
LOOP = """
for hit in best:
    print(hit.rank, len(best))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where notebooks run, with 20 pictures; the user's own kernels and profile are not seen."""
    save_pictures(tmp_path / "pictures", 20)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, os.fspath(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    return tmp_path


def run(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell of a notebook; an error in one of them is raised."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE,
        startup_timeout=PATIENCE,
        kernel_name="python3",
        resources={"metadata": {"path": os.fspath(folder)}},
    )
    client.execute()
    nbformat.validate(notebook)
    return [cell.outputs for cell in notebook.cells]


def shown(outputs: list[dict[str, Any]]) -> str:
    """The HTML of a cell's only output, which is its value."""
    (output,) = outputs
    assert output["output_type"] == "execute_result"
    assert output["data"]["text/plain"].startswith("Results(")
    html: str = output["data"]["text/html"]
    return html


def count(html: str) -> tuple[int, int]:
    """How many hits there are, and how many of them are shown as pictures."""
    pictures = re.findall(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]{100,}"', html)
    return html.count("<figure"), len(pictures)


def names(html: str) -> list[str]:
    """The names of the pictures, best first."""
    return re.findall(r'alt="([^"]*)"', html)


def test_results_are_shown_as_pictures(folder: Path) -> None:
    indexed, *asked, gone, framed, looped = run(
        folder,
        INDEX,
        *(f"engine.search({query}, k=6, include_self=True)" for query in QUERIES),
        *(GONE, FRAMED, LOOP),
    )
    checkout = REPOSITORY / ".package" / "parecido" / "__init__.py"
    assert [output["text"] for output in indexed] == [f"20 {checkout}\n"]
    for outputs in asked:
        assert count(shown(outputs)) == (6, 6)
        assert names(shown(outputs))[0] == "0003.png"
    assert len({tuple(names(shown(outputs))) for outputs in asked}) == 1
    assert count(shown(gone)) == (3, 2)
    assert "the file is not there any more" in shown(gone)
    assert count(shown(framed)) == (1, 1)
    assert "position:absolute;left:0.00%;top:0.00%;width:100.00%;height:50.00%" in shown(framed)
    assert looped[0]["text"] == "1 3\n2 3\n3 3\n"
