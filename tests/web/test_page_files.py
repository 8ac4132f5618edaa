"""The page's files: small, its own, and of one kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import parecido.search.web

PAGE = Path(parecido.search.web.__file__).parent / "page"
FILES = sorted(path for path in PAGE.iterdir() if path.stem != "docs")


def test_the_page_is_smaller_than_100_kilobytes() -> None:
    assert sum(path.stat().st_size for path in FILES) < 100_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_of_the_page_is_long_or_turns_to_another_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    hosts = {"http://www.w3.org/2000/svg"}  # a name, which is never asked for
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= hosts


def test_the_markup_holds_no_script_no_style_and_only_relative_addresses() -> None:
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]", text)
    addresses = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert addresses
    assert not [address for address in addresses if address.startswith("/")]


def test_every_file_that_is_named_is_there_and_every_file_is_named() -> None:
    named = {"index.html"}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        named.update(re.findall(r'(?:from "\./|"static/)([^"]+)"', text))
    assert named == {path.name for path in FILES}
