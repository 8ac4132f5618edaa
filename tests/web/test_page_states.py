"""The page in a real browser when all is not as usual, on other screens, and for everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, Page, Server, Watch, expect, ids, names, visiting
from tests.support.fakes import save_picture, save_pictures
from tests.support.harness import run_parecido

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=alert(1)>&amp;.png"
PHONE = {"width": 390, "height": 844}

# What a reader of the screen would stumble over, in words.
FAULTS = """() => {
  const faults = [];
  const say = (what, node) => faults.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
  const all = (selector) =>
    [...document.querySelectorAll(selector)].filter((node) => node.checkVisibility());
  const named = (node) => node.ariaLabel || node.getAttribute("aria-labelledby") ||
    node.textContent.trim() || node.querySelector("img")?.alt;
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  for (const image of all("img")) if (!image.alt) say("no alternative", image);
  for (const node of all("button, a[href]")) if (!named(node)) say("no name", node);
  for (const node of all("dialog[open], aside, nav, [role=group]")) {
    if (!node.ariaLabel && !node.getAttribute("aria-labelledby")) say("no name", node);
  }
  for (const node of all("input, select, textarea")) {
    if (!node.labels.length && !node.ariaLabel) say("no label", node);
  }
  for (const name of ["aria-labelledby", "aria-controls", "for", "list"]) {
    for (const node of all(`[${name}]`)) {
      if (!document.getElementById(node.getAttribute(name))) say(`no such ${name}`, node);
    }
  }
  for (const node of document.querySelectorAll("[id]")) {
    if (document.getElementById(node.id) !== node) say("one id twice", node);
  }
  for (const node of all("[tabindex]")) if (node.tabIndex > 0) say("a forced order", node);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) say("a level is left out", heading);
    level = own;
  }
  return faults;
}"""

# Text that stands too weakly on its ground, with the contrast.
FAINT = """() => {
  const parse = (text) => text.match(/^rgba?\\(([^)]+)\\)$/)?.[1].split(", ").map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (!colour || (colour[3] ?? 1) === 1) return colour;
      if (colour[3] > 0) return null;
    }
    return null;
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.disabled) continue;
    const [ink, paper] = [parse(getComputedStyle(node).color), ground(node)];
    if (!ink || !paper) continue;
    const [low, high] = [light(ink), light(paper)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${node.outerHTML.slice(0, 120)}`);
  }
  return faint;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of thirty pictures and one whose name is markup."""
    folder = tmp_path_factory.mktemp("states")
    save_pictures(folder / "pictures", 30)
    save_picture(folder / "pictures" / MARKUP, 30)
    done = run_parecido("index", folder / "pictures", "--library", folder / "library")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder / "library") as server:
        yield server


def test_a_phone_shows_all_in_its_width_and_details_as_a_sheet_from_below(
    browser: Browser, server: Server, request: pytest.FixtureRequest
) -> None:
    options: dict[str, Any] = {"is_mobile": True, "has_touch": True, "reduced_motion": "reduce"}
    with visiting(browser, server.url, request, viewport=PHONE, **options) as (page, _):

        def fits() -> None:
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide == [PHONE["width"], PHONE["width"]]

        hits, details = page.get_by_test_id("hit"), page.get_by_test_id("details")
        page.goto("./")
        expect(hits).to_have_count(24)
        fits()
        hits.first.locator("a").tap()
        expect(page.get_by_test_id("status")).to_contain_text("like")
        expect(page.get_by_test_id("query").locator("img")).to_be_visible()
        fits()
        page.get_by_role("button", name="Filters").tap()
        expect(page.get_by_label("Added since")).to_be_in_viewport()
        fits()
        page.get_by_role("button", name="Done").tap()

        hits.nth(1).get_by_test_id("info").tap()
        expect(details).to_contain_text("48 × 40 pixels")
        fits()
        assert details.evaluate("sheet => sheet.matches(':modal')")
        box = details.bounding_box()
        assert box is not None
        assert (box["x"], box["width"]) == (0, PHONE["width"])
        assert box["y"] + box["height"] == pytest.approx(PHONE["height"], abs=1)
        assert box["y"] > 80
        details.get_by_role("button", name="Close the details").tap()
        expect(details).to_be_hidden()


def test_the_theme_is_the_systems_until_another_one_is_chosen(
    browser: Browser, server: Server, request: pytest.FixtureRequest
) -> None:
    with visiting(browser, server.url, request, color_scheme="dark") as (page, _):
        is_dark = """() => /^rgb\\((\\d+)/.exec(
            getComputedStyle(document.documentElement).backgroundColor)[1] < 100"""
        page.goto("./")
        assert page.evaluate(is_dark)
        page.emulate_media(color_scheme="light")
        assert not page.evaluate(is_dark)
        page.get_by_role("button", name="Dark theme").click()
        assert page.evaluate(is_dark)
        page.reload()
        assert page.evaluate(is_dark)
        page.get_by_test_id("theme").click()
        expect(page.get_by_test_id("theme")).to_have_accessible_name("Dark theme")
        assert not page.evaluate(is_dark)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(
    browser: Browser, server: Server, request: pytest.FixtureRequest, scheme: str
) -> None:
    options: dict[str, Any] = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with visiting(browser, server.url, request, **options) as (page, _):

        def is_well() -> None:
            assert page.evaluate(FAULTS) == []
            assert page.evaluate(FAINT) == []

        hits = page.get_by_test_id("hit")
        page.goto("./")
        expect(hits).to_have_count(24)
        is_well()
        page.goto("?id=1&min_score=0.2&format=PNG&region=10%,10%,50%,50%")
        expect(page.get_by_test_id("region")).to_be_visible()
        expect(page.locator(".chip")).to_be_visible()
        page.get_by_role("button", name="Filters").click()
        is_well()
        hits.first.hover()
        hits.first.get_by_test_id("info").click()
        expect(page.get_by_test_id("details")).to_contain_text("PNG")
        is_well()
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        is_well()
        page.goto("?id=1&min_score=1")
        expect(page.locator("#state")).to_contain_text("Nothing found")
        is_well()


def test_a_file_name_with_markup_is_shown_as_text(page: Page, folder: Path) -> None:
    page.goto("?order=path&path=onerror")
    expect(page.get_by_test_id("hit")).to_have_count(1)
    assert names(page) == [MARKUP]
    expect(page.get_by_test_id("hit")).to_contain_text(MARKUP)
    page.get_by_test_id("hit").locator("a").click()
    expect(page.get_by_test_id("query")).to_be_visible()
    page.locator(".chip").click()
    expect(page.get_by_test_id("status")).to_contain_text(f"pictures like {MARKUP}")
    page.get_by_role("button", name="Details").first.click()
    expect(page.get_by_test_id("details")).to_contain_text(f"/{MARKUP}")
    expect(page).to_have_title(f"{MARKUP} · parecido")

    page.get_by_test_id("file").set_input_files(folder / "pictures" / MARKUP)
    expect(page.get_by_test_id("status")).to_contain_text(f"pictures like {MARKUP}")
    expect(page.locator('img[src="x"]')).to_have_count(0)


def test_a_pasted_picture_is_searched_for(page: Page) -> None:
    page.goto("./")
    expect(page.get_by_test_id("hit")).to_have_count(24)
    page.evaluate("""async () => {
      const clipboardData = new DataTransfer();
      const bytes = await (await fetch("v1/pictures/7/original")).blob();
      clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
      document.body.dispatchEvent(
        new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData }));
    }""")
    expect(page.get_by_test_id("status")).to_contain_text("pictures like pasted.png")
    assert ids(page)[0] == "7"
    expect(page.get_by_test_id("score").first).to_have_text("1.00")


def test_an_upload_is_added_to_the_library_and_deleted(page: Page, tmp_path: Path) -> None:
    page.goto("./")
    expect(page.locator("#library")).to_contain_text("31 pictures")
    page.get_by_test_id("file").set_input_files(save_picture(tmp_path / "mine.png", 99))
    expect(page.get_by_test_id("status")).to_contain_text("like mine.png")
    page.get_by_test_id("add").click()
    expect(page.locator("#toasts")).to_contain_text(re.compile(r"Added as mine-\w+\.png"))
    expect(page.locator("#query")).to_contain_text("In the library")
    expect(page.get_by_test_id("score").first).to_have_text("1.00")
    expect(page.locator("#library")).to_contain_text("32 pictures")
    added = ids(page)[0]
    assert re.fullmatch(r"mine-\w+\.png", names(page)[0])

    page.get_by_role("button", name="In the library").click()
    page.get_by_test_id("delete").click()
    expect(page.locator("#confirm")).to_contain_text("This cannot be undone")
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    expect(page.locator("#confirm")).to_be_hidden()
    page.get_by_test_id("delete").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#toasts")).to_contain_text("is deleted")
    expect(page.get_by_test_id("details")).to_be_hidden()
    expect(page.locator(f'[data-id="{added}"]')).to_have_count(0)
    expect(page.locator("#library")).to_contain_text("31 pictures")
    expect(page.get_by_test_id("add")).to_be_visible()


def test_a_file_that_is_no_picture_is_refused_in_words(
    visit: tuple[Page, Watch], tmp_path: Path
) -> None:
    page, watch = visit
    watch.expect("status of 415", "status of 422")
    page.goto("./")
    for name in ("notes.txt", "broken.jpg"):
        (tmp_path / name).write_text("hello")
        page.get_by_test_id("file").set_input_files(tmp_path / name)
        expect(page.locator("#state h2")).to_have_text(re.compile("picture"))
        expect(page.locator("#state").get_by_role("button")).to_have_text("Choose a picture")
        expect(page.get_by_test_id("hit")).to_have_count(0)
    page.get_by_test_id("file").set_input_files(save_picture(tmp_path / "good.png", 3))
    expect(page.get_by_test_id("score").first).to_have_text("1.00")


def test_a_picture_that_is_not_there_any_more_is_told_of(visit: tuple[Page, Watch]) -> None:
    page, watch = visit
    watch.expect("status of 404")
    page.goto("?id=99999")
    expect(page.locator("#state")).to_contain_text("This picture is not in the library")
    page.get_by_role("button", name="Look at the library").click()
    expect(page.get_by_test_id("hit")).to_have_count(24)


def test_an_empty_library_says_how_to_fill_it_and_fills(
    browser: Browser, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "pictures", 3)
    with (
        Server(tmp_path / "library") as server,
        visiting(browser, server.url, request) as (page, _),
    ):
        page.goto("./")
        expect(page.locator("#state")).to_contain_text("No pictures yet")
        expect(page.locator("#state code")).to_have_text("parecido index FOLDER")
        assert page.evaluate(FAULTS) == []
        done = run_parecido("index", tmp_path / "pictures", "--library", tmp_path / "library")
        assert done.returncode == 0, done.stderr
        expect(page.get_by_test_id("hit")).to_have_count(3)
        expect(page.locator("#state")).to_be_hidden()


def test_a_server_that_is_gone_is_told_of_and_found_again(
    browser: Browser, folder: Path, request: pytest.FixtureRequest
) -> None:
    with (
        Server(folder / "library", "--read-only") as server,
        visiting(browser, server.url, request) as (page, watch),
    ):
        watch.expect("net::ERR_")
        page.goto("?id=2")
        expect(page.get_by_test_id("status")).to_contain_text("pictures like")
        expect(page.get_by_test_id("banner")).to_be_hidden()
        server.kill()
        page.get_by_test_id("hit").nth(1).locator("a").click()
        expect(page.get_by_test_id("banner")).to_contain_text("The server does not answer.")
        wanted = page.url
        assert not wanted.endswith("?id=2")
        server.start()
        expect(page.get_by_test_id("banner")).to_be_hidden()
        expect(page.get_by_test_id("hit").first.locator("img.here")).to_be_visible()
        assert page.url == wanted
        assert wanted.rpartition("=")[2] not in ids(page)
        expect(page.locator(".missing")).to_have_count(0)
        expect(page.get_by_test_id("add")).to_have_count(0)


def test_a_server_with_a_token_asks_for_it(
    browser: Browser, folder: Path, request: pytest.FixtureRequest
) -> None:
    with (
        Server(folder / "library", "--read-only", "--token", "s3cret") as server,
        visiting(browser, server.url, request) as (page, watch),
    ):
        watch.expect("status of 401")
        dialog = page.get_by_test_id("token")
        page.goto("?id=2")
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("hit")).to_have_count(0)
        page.get_by_role("button", name="Enter the token").click()
        dialog.get_by_label("Token").fill("guess")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("That is not the token.")
        dialog.get_by_label("Token").fill("s3cret")
        dialog.get_by_role("button", name="Continue").click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_test_id("status")).to_contain_text("pictures like")
        expect(page.get_by_test_id("hit").first.locator("img.here")).to_be_visible()
        expect(page.get_by_test_id("query").locator("img")).to_be_visible()
        expect(page.locator(".missing")).to_have_count(0)
        page.reload()
        expect(page.get_by_test_id("status")).to_contain_text("pictures like")
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name="Log out").click()
        expect(dialog).to_be_visible()
        expect(page.get_by_test_id("hit")).to_have_count(0)


def test_the_description_of_the_api_needs_no_other_host(page: Page) -> None:
    page.goto("./")
    page.get_by_role("link", name="HTTP API").click()
    expect(page.get_by_text("/v1/search/vector")).to_be_visible()
    expect(page.locator(".opblock").first).to_be_visible()
