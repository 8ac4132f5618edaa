"""The command line, as a real process: output, errors, exit codes, start-up."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.search.cli import COMMANDS, cli
from tests.support.fakes import fake_spec, save_picture, save_pictures
from tests.support.harness import check_sound, run_parecido
from tests.support.real import photographs
from tests.support.waiting import PATIENCE


def run(
    *arguments: object, stdin: bytes = b"", code: int | None = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``parecido`` with these arguments; checks the exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "parecido.search.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        check=False,
    )
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    if code is not None:
        assert done.returncode == code, f"exit {done.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


HELP = """\
Usage: parecido [OPTIONS] COMMAND [ARGS]...

  Find pictures that look alike.

  Start with `parecido index FOLDER`, then `parecido search PICTURE`.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  index       Add pictures, and follow what changed, moved or went.
  search      Find the pictures most like a picture.
  serve       Answer queries over HTTP, with a page for people.
  eval        Measure how well pictures find others of their group.
  explain     Show which places of two pictures make them match.
  compare     Print the cosines between given pictures.
  labels      Print the ImageNet classes of pictures.
  info        Tell what a library holds and how.
  verify      Check a library from top to bottom.
  relocate    Tell the library that what lay in OLD lies in NEW now.
  backup      Copy the library into one file, while everything runs.
  restore     Make a library of a backup in a new folder.
  remove      Take pictures out of the library; the files stay.
  models      List the encoders, and whether their weights are here.
  completion  Print a shell completion script.
"""


def test_help_lists_every_command() -> None:
    assert run("--help").stdout == HELP


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_line_of_a_command_is_its_own_first_line(name: str) -> None:
    import click

    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help is not None
    assert command.help.splitlines()[0] == COMMANDS[name][1]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "device":
            assert parameter.help, f"--{parameter.name} of {name} has no help"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from parecido.search.cli import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'tensorflow keras faiss openvino sqlalchemy numpy PIL rich alembic scipy'\n"
        "print(sorted(set(heavy.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# The cosines of the drawn colours themselves, worked out apart from the program, are 0.938, 0.893
# and 0.864; resampling blurs the quadrants' borders a little.
TABLE = """\
PICTURES/0003.png · N ms
    score   size  labels  path
 1  0.938  48×40          PICTURES/0002.png
 2  0.894  48×40          PICTURES/0006.png
 3  0.865  48×40          PICTURES/0008.png

"""


def test_the_table_for_people(indexed: Library, tmp_path: Path) -> None:
    query = tmp_path / "pictures" / "0003.png"
    done = run("search", query, "-k", 3, "--library", indexed.folder)
    shown = done.stdout.replace(str(tmp_path / "pictures"), "PICTURES")
    assert re.sub(r"\d+ ms", "N ms", shown) == TABLE
    assert done.stderr == ""


def test_the_json_contract_of_search(indexed: Library, tmp_path: Path) -> None:
    files = [tmp_path / "pictures" / name for name in ("0003.png", "0004.png")]
    done = run("search", *files, "--json", "--library", indexed.folder)
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [document["query"] for document in documents] == list(map(str, files))
    for document in documents:
        assert set(document) == {"query", "encoder", "took_ms", "hits"}
        assert len(document["hits"]) == 10
        for rank, hit in enumerate(document["hits"], 1):
            assert set(hit) == {"rank", "id", "score", "path", "width", "height", "labels", "same"}
            assert (hit["rank"], hit["width"], hit["height"]) == (rank, 48, 40)
        scores = [hit["score"] for hit in document["hits"]]
        assert scores == sorted(scores, reverse=True)


def test_paths_are_for_pipes_byte_for_byte(
    indexed: Library, tmp_path: Path, encoder: object
) -> None:
    odd = os.fsencode(tmp_path / "pictures") + b"/\xff\nodd.png"
    os.rename(save_picture(tmp_path / "odd.png", 3), odd)
    index(indexed, [tmp_path / "pictures"], encoder=encoder)  # type: ignore[arg-type]
    query = tmp_path / "pictures" / "0003.png"
    arguments = ["search", str(query), "--library", str(indexed.folder), "-k", "2", "--paths", "-0"]
    command = [sys.executable, "-m", "parecido.search.cli", *arguments]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    first, second, rest = out.split(b"\0")
    assert (first, rest) == (odd, b"")
    assert second.startswith(os.fsencode(tmp_path))
    shown = run("search", query, "--library", indexed.folder, "-k", 1).stdout
    assert "\\udcff\\nodd.png" in shown


def test_bad_usage_exits_2_and_says_what_was_expected(indexed: Library, tmp_path: Path) -> None:
    query = tmp_path / "pictures" / "0003.png"
    assert "0 is not in the range" in run("search", query, "-k", 0, code=2).stderr
    assert "exclude each other" in run("search", query, "--json", "--paths", code=2).stderr
    assert "Missing argument" in run("search", code=2).stderr
    assert "Missing argument" in run("index", code=2).stderr
    assert "at least two" in run("compare", query, code=2).stderr
    assert "Did you mean 'search'" in run("serach", query, code=2).stderr


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command: one line, with a remedy, without a traceback, nothing on stdout."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("parecido: ")
    assert line.endswith(".") or "parecido " in line.rpartition(".")[2]
    assert done.stdout == ""
    return line


def test_expected_failures_exit_1_with_one_line_and_a_remedy(
    indexed: Library, tmp_path: Path
) -> None:
    library = ("--library", indexed.folder)
    picture = tmp_path / "pictures" / "0003.png"
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty").mkdir()

    assert "is not there" in one_line(run("search", tmp_path / "no.jpg", *library, code=1))
    assert "holds 20 pictures" in one_line(run("search", picture, "-k", 99, *library, code=1))
    assert "There is no library" in one_line(
        run("search", picture, "--library", tmp_path / "none", code=1)
    )
    assert "is not there" in one_line(run("index", tmp_path / "no", *library, code=1))
    assert "is not there" in one_line(
        run("index", tmp_path / "no", "--library", tmp_path / "never", code=1)
    )
    assert not (tmp_path / "never").exists()
    assert "no files" in one_line(run("index", tmp_path / "empty", *library, code=1))
    assert "was built with fake" in one_line(
        run("index", tmp_path / "pictures", "--model", "resnet50", *library, code=1)
    )
    assert "no encoder 'resnet5'" in one_line(
        run(
            "index",
            tmp_path / "pictures",
            "--model",
            "resnet5",
            "--library",
            tmp_path / "l",
            code=1,
        )
    )
    assert "holds nothing" in one_line(run("remove", tmp_path / "no", *library, code=1))
    assert indexed.catalogue.counts()[0] == 20


def test_a_traceback_appears_only_with_debug(tmp_path: Path) -> None:
    arguments = ("info", "--library", tmp_path / "none")
    assert "Traceback" not in run(*arguments, code=1).stderr
    assert "Traceback" in run(*arguments, "--debug", code=1).stderr


def test_one_bad_query_among_good_ones_is_told_and_the_rest_answered(
    indexed: Library, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    good = tmp_path / "pictures" / "0003.png"
    done = run("search", tmp_path / "text.jpg", good, "--json", "--library", indexed.folder, code=1)
    assert "text.jpg cannot be searched for: not a picture" in done.stderr
    assert [json.loads(line)["query"] for line in done.stdout.splitlines()] == [str(good)]


def test_info_verify_and_remove(indexed: Library, tmp_path: Path) -> None:
    library = ("--library", indexed.folder)
    facts = json.loads(run("info", "--json", *library).stdout)
    assert {
        name: facts[name] for name in ("pictures", "skipped", "dimension", "pooling", "encoder")
    } == {
        "pictures": 20,
        "skipped": 0,
        "dimension": 12,
        "pooling": "avg",
        "encoder": f"fake · avg · 12-d · {fake_spec().fingerprint[:8]}",
    }
    assert facts["bytes"] > 0
    # too small for a space of its own; what is not known is not told as a number
    assert {name: facts[name] for name in ("space_dimension", "space_learned_from")} == {
        "space_dimension": None,
        "space_learned_from": None,
    }
    assert facts["think_twice"] is False
    shown = dict(line.split(maxsplit=1) for line in run("info", *library).stdout.splitlines())
    assert list(shown) == list(facts)
    assert (shown["pictures"], shown["space_dimension"], shown["think_twice"]) == ("20", "-", "no")
    assert json.loads(run("verify", "--json", *library).stdout) == {
        "ok": True,
        "problems": [],
        "repaired": [],
    }
    out = run("remove", tmp_path / "pictures" / "0003.png", *library).stdout
    assert out == "1 picture removed from the library; no file was touched.\n"
    assert json.loads(run("info", "--json", *library).stdout)["pictures"] == 19


def test_the_library_comes_from_the_environment_too(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARECIDO_LIBRARY", str(indexed.folder))
    assert json.loads(run("info", "--json").stdout)["library"] == str(indexed.folder)


def test_models_lists_every_encoder_with_its_facts() -> None:
    models = {m["name"]: m for m in map(json.loads, run("models", "--json").stdout.splitlines())}
    assert len(models) == 43
    lite = models["efficientnet-lite0"]
    assert (lite["dimension"], lite["native"], lite["available"]) == (1280, 224, True)
    assert models["vgg16"]["poolings"] == ["avg", "max", "gem", "rgem", "fc1", "fc2"]
    assert "efficientnet-lite0       1280     224  here     avg, max, gem, rgem\n" in (
        run("models").stdout
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    assert "_PARECIDO_COMPLETE" in run("completion", shell).stdout


def test_completion_offers_the_commands() -> None:
    env = {**os.environ, "_PARECIDO_COMPLETE": "bash_complete"}
    env |= {"COMP_WORDS": "parecido se", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from parecido.search.cli import main; main()"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "plain,search\nplain,serve\n"


def test_a_closed_pipe_is_no_error(indexed: Library, tmp_path: Path) -> None:
    files = " ".join(f"'{p}'" for p in sorted((tmp_path / "pictures").iterdir()))
    command = (
        f"'{sys.executable}' -m parecido.search.cli search {files} --library '{indexed.folder}'"
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1"], capture_output=True, text=True, check=False
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_a_sheet_never_replaces_a_picture(indexed: Library, tmp_path: Path) -> None:
    query = tmp_path / "pictures" / "0003.png"
    other = tmp_path / "pictures" / "0004.png"
    before = other.read_bytes()
    library = ("--library", indexed.folder)
    assert "this program did not draw it" in one_line(
        run("search", query, "--sheet", other, *library, code=1)
    )
    assert other.read_bytes() == before
    assert "ends in .png" in one_line(run("search", query, "--sheet", "x.jpg", *library, code=1))
    missing = tmp_path / "no" / "sheet.png"
    assert "is not there" in one_line(run("search", query, "--sheet", missing, *library, code=1))
    for _ in range(2):  # its own earlier sheet it does replace
        run("search", query, "-k", 3, "--sheet", tmp_path / "sheet.png", *library)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.info["Software"] == "parecido"


def test_a_sheet_and_its_reasons_need_a_file_each(indexed: Library, tmp_path: Path) -> None:
    query, out = tmp_path / "pictures" / "0003.png", tmp_path / "out.png"
    same = tmp_path / "pictures" / ".." / "out.png"
    words = ("search", query, "--library", indexed.folder, "--sheet", out, "--why", same)
    assert "a file each" in run(*words, code=2).stderr
    assert not out.exists()


def test_closed_standard_streams_are_no_defect(indexed: Library, tmp_path: Path) -> None:
    base = f"'{sys.executable}' -m parecido.search.cli search --library '{indexed.folder}'"
    query = f"'{tmp_path / 'pictures' / '0003.png'}'"
    done = subprocess.run(
        ["bash", "-c", f"{base} --paths -k 2 {query} 2>&-"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 2)
    assert "cannot be searched for: the file is empty" in one_line(
        run("search", "-", "--library", indexed.folder, code=1)
    )
    full = subprocess.run(
        ["bash", "-c", f"{base} {query} > /dev/full"], capture_output=True, text=True, check=False
    )
    assert full.returncode == 1
    assert "no space left for the output" in full.stderr


@pytest.mark.network
def test_files_of_the_current_folder_are_never_imported(tmp_path: Path) -> None:
    hostile = tmp_path / "downloads"
    save_picture(hostile / "0000.png", 1)
    (hostile / "json.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')")
    script = Path(sys.executable).with_name("parecido")
    done = subprocess.run(
        [script, "labels", "0000.png"],
        cwd=hostile,
        env={**os.environ, "PARECIDO_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "PWNED").exists()


def test_a_name_cannot_steer_the_terminal(
    indexed: Library, tmp_path: Path, encoder: object
) -> None:
    evil = tmp_path / "pictures" / "\x1b]0;owned\x07\x1b[31m.png"
    os.rename(save_picture(tmp_path / "x.png", 3), evil)
    index(indexed, [tmp_path / "pictures"], encoder=encoder)  # type: ignore[arg-type]
    done = run("search", evil, "-k", 20, "--library", indexed.folder)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\\x1b]0;owned" in done.stdout


@pytest.mark.network
def test_the_whole_way_with_the_real_network(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for path in photographs():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("not a picture")
    library = ("--library", tmp_path / "library")

    report = json.loads(run("index", folder, "--json", *library).stdout)
    assert set(report) >= {
        *("added", "updated", "unchanged", "moved", "removed", "skipped"),
        *("seconds", "pictures_per_second"),
    }
    assert (report["added"], report["updated"], report["removed"]) == (7, 0, 0)
    assert [Path(skip["path"]).name for skip in report["skipped"]] == ["notes.txt"]
    again = run("index", folder, *library).stdout
    assert again.startswith("7 unchanged in ")
    assert "1 file skipped: 1 not a picture\n" in again

    query = tmp_path / "turned.webp"
    cat = Image.open(folder / "chelsea.png")
    cat.crop((40, 20, 400, 280)).rotate(90, expand=True).save(query, quality=50)
    done = run("search", query, "--json", "-k", 2, *library)
    best = json.loads(done.stdout)["hits"][0]
    assert Path(best["path"]).name == "chelsea.png"
    assert len(best["labels"]) == 5
    assert [type(x) for x in best["labels"][0]] == [str, float]

    from_stdin = run("search", "-", "--paths", "-k", 1, *library, stdin=query.read_bytes())
    assert from_stdin.stdout == f"{folder / 'chelsea.png'}\n"

    sheet = tmp_path / "sheet.png"
    done = run("search", query, folder / "china.jpg", "-k", 3, "--sheet", sheet, *library)
    assert "sheet written to" in done.stderr
    with Image.open(sheet) as image:
        assert image.width > 4 * 220
        assert image.height > 2 * 220

    labels = run("labels", folder / "coffee.png", "--json", "-k", 3, *library)
    document = json.loads(labels.stdout)
    assert document["image"] == str(folder / "coffee.png")
    name, probability, number = document["labels"][0]
    assert (name, number) == ("espresso", 967)
    assert 0.3 < probability <= 1
    assert len(document["labels"]) == 3

    table = run("compare", folder / "chelsea.png", query, folder / "rocket.jpg", "--json", *library)
    cosines = json.loads(table.stdout)["cosines"]
    assert cosines[0][0] == pytest.approx(1, abs=1e-6)
    assert cosines[0][1] > cosines[0][2]
    assert json.loads(run("verify", "--json", *library).stdout)["ok"] is True


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_every_worker_is_in_the_network_commits_what_they_hold(
    number: signal.Signals, tmp_path: Path
) -> None:
    files = save_pictures(tmp_path / "p", 80)
    gate, library = tmp_path / "gate", tmp_path / "library"
    command = (sys.executable, "-m", "tests.support.fake_cli")
    process = subprocess.Popen(
        [*command, "index", tmp_path / "p", "--workers", "2", "--library", library],
        env={**os.environ, "FAKE_GATE": str(gate)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not Path(f"{gate}.reached").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(number)
    gate.touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Interrupted" in out
    committed = len(check_sound(library))
    assert 0 < committed < len(files)
    assert not (library / "writer.json").exists()
    rest = run_parecido("index", tmp_path / "p", "--library", library, "--json")
    report = json.loads(rest.stdout)
    assert (report["added"], report["unchanged"]) == (len(files) - committed, committed)


# The command line, which waits after the first commit that has pictures.
_HELD = """
import os, time
from pathlib import Path
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.search.cli import main
write, gate = CatalogueWriter.write, os.environ["HELD_AT"]
def held(writer, changes, **named):
    write(writer, changes, **named)
    if writer.counts()[0]:
        Path(f"{gate}.reached").touch()
        while not Path(gate).exists():
            time.sleep(0.01)
CatalogueWriter.write = held
main()
"""


@pytest.mark.network
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_commits_what_is_ready_and_exits_130(
    number: signal.Signals, tmp_path: Path
) -> None:
    files = save_pictures(tmp_path / "p", 1500)
    arguments = ["index", str(tmp_path / "p"), "--library", str(tmp_path / "library")]
    process = subprocess.Popen(
        [sys.executable, "-c", _HELD, *arguments],
        env={**os.environ, "HELD_AT": str(tmp_path / "gate")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "gate.reached").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(number)
    (tmp_path / "gate").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Interrupted" in out
    with Library.open(tmp_path / "library") as library:
        committed = library.catalogue.counts()[0]
        assert 0 < committed < len(files)
        assert library.vectors().count == committed
    rest = json.loads(run(*arguments, "--json").stdout)
    assert (rest["added"], rest["unchanged"]) == (len(files) - committed, committed)
