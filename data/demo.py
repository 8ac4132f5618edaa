"""Runs the quick start: indexes the gallery, searches for the altered copies, and counts.

    python data/demo.py                # after data/make_gallery.py

It calls the installed ``parecido`` as anyone would, prints each command with its own output, and
ends with in how many of the queries the picture that was altered came first.  Exit code 1 where
those are too few, or where a command fails.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GALLERY, LIBRARY, SHEET = "data/gallery", "data/library", "data/sheets/demo.png"
QUERIES = ("data/queries/*.jpg", "data/queries/*.webp")
ORIGINS = ROOT / "data" / "queries" / "origins.csv"
# of twelve; one or two misses are the descriptor's limits, more would be a defect
ENOUGH = 10


def say(*words: str) -> None:
    """Print a command as it would be typed; patterns stay unquoted, for the shell to expand."""
    typed = [word if "*" in word else shlex.quote(word) for word in words]
    print("\n$", *typed, flush=True)


def run(*words: str, read: bool = False) -> str:
    """Run ``parecido`` in the project's folder and give its stdout where ``read`` asks for it."""
    script = Path(sysconfig.get_path("scripts"), "parecido")
    if not script.is_file():
        sys.exit("demo: parecido is not installed here. Install it: pip install -e '.[demo]'")
    expanded: list[str] = []
    for word in words:
        if "*" in word:
            expanded += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(word))
        else:
            expanded.append(word)
    done = subprocess.run(
        [script, *expanded],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE if read else None,
        encoding="utf-8",
    )
    if done.returncode:
        sys.exit(f"demo: parecido {words[0]} ended with exit code {done.returncode}")
    return done.stdout or ""


def first_hits(answers: str) -> dict[str, str]:
    """The file names of query and best hit, from the lines of ``parecido search --json``."""
    names = {}
    for line in answers.splitlines():
        answer = json.loads(line)
        best = answer["hits"][0]["path"] if answer["hits"] else ""
        names[Path(answer["query"]).name] = Path(best).name
    return names


def main() -> None:
    """Index, search, count."""
    if not ORIGINS.is_file():
        sys.exit("demo: the pictures are not there. Make them: python data/make_gallery.py")
    index = ("index", GALLERY, "--library", LIBRARY)
    search = ("search", *QUERIES, "--library", LIBRARY)
    (ROOT / SHEET).parent.mkdir(parents=True, exist_ok=True)

    say("parecido", *index)
    run(*index)
    say("parecido", *search, "-k", "4", "--sheet", SHEET)
    run(*search, "-k", "4", "--sheet", SHEET)

    found = first_hits(run(*search, "-k", "1", "--json", read=True))
    with ORIGINS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missed = [row for row in rows if found.get(row["query"]) != row["origin"]]
    print(
        f"\nThe picture that was altered came first for {len(rows) - len(missed)} of "
        f"{len(rows)} queries."
    )
    for row in missed:
        print(
            f"  {row['query']} ({row['change']}): {found.get(row['query']) or 'nothing'} came "
            f"before {row['origin']}"
        )
    print(f"Look at {SHEET}: each row is a query and its four best.")
    if len(rows) - len(missed) < ENOUGH:
        sys.exit(f"demo: fewer than {ENOUGH}; something is wrong")


if __name__ == "__main__":
    main()
