"""The page in a real browser, with the real encoder: what people come for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from data.make_gallery import QUERY_LIST, VIEWS, encoded, view_bytes
from tests.support.browser import Page, Server, Watch, drop, expect, ids, names, region_of
from tests.support.harness import run_parecido

pytestmark = [pytest.mark.browser, pytest.mark.network]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick start's gallery and queries, and a library of the gallery."""
    folder = tmp_path_factory.mktemp("page")
    for sub in ("gallery", "queries"):
        (folder / sub).mkdir()
    for view in VIEWS:
        (folder / "gallery" / view.name).write_bytes(view_bytes(view))
    for query in QUERY_LIST:
        with Image.open(folder / "gallery" / query.origin) as picture:
            data = encoded(query.alter(picture), query.name, query.quality)
        (folder / "queries" / query.name).write_bytes(data)
    done = run_parecido("index", folder / "gallery", "--library", folder / "library", fake=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder / "library", fake=False) as server:
        yield server


def search_from(page: Page, name: str) -> None:
    """Go to the page of a gallery picture's neighbours, past the grid."""
    found = page.request.get("v1/pictures", params={"order": "path", "limit": 200}).json()
    (picture,) = [picture for picture in found["pictures"] if picture["name"] == name]
    page.goto(f"?id={picture['id']}")
    expect(page.get_by_test_id("status")).to_contain_text(f"like {name}")
    expect(page.get_by_test_id("query").locator("img")).to_be_visible()


def test_a_dropped_picture_finds_the_one_it_was_made_of_first(page: Page, folder: Path) -> None:
    page.goto("./")
    expect(page.get_by_test_id("hit")).to_have_count(24)

    drop(page, folder / "queries" / "cat-mirrored.jpg")

    expect(page.get_by_test_id("status")).to_contain_text("pictures like cat-mirrored.jpg")
    expect(page).to_have_url(re.compile(r"\?upload=\w+$"))
    assert names(page)[0] == "cat.jpg"
    assert set(names(page)[1:3]) == {"cat-eyes.jpg", "cat-ears.jpg"}
    scores = [float(text) for text in page.get_by_test_id("score").all_text_contents()]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.8
    expect(page.get_by_test_id("hit").first.locator("img.here")).to_be_visible()
    expect(page.locator("#dropping")).to_be_hidden()


def test_a_chosen_picture_finds_the_one_it_was_made_of_first(page: Page, folder: Path) -> None:
    page.goto("./")
    with page.expect_file_chooser() as chooser:
        page.get_by_test_id("drop").get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(folder / "queries" / "rocket-tilted.jpg")
    expect(page.get_by_test_id("status")).to_contain_text("pictures like rocket-tilted.jpg")
    assert names(page)[0] == "rocket.jpg"

    page.get_by_test_id("file").set_input_files(folder / "queries" / "dahlia.webp")
    expect(page.get_by_test_id("status")).to_contain_text("pictures like dahlia.webp")
    assert names(page)[0] == "dahlia.jpg"
    expect(page.get_by_test_id("query").get_by_role("img")).to_have_attribute(
        "alt", "Searched for: dahlia.webp"
    )


def test_back_finds_every_step_of_a_walk_as_it_was(page: Page) -> None:
    page.goto("./")
    hits, status = page.get_by_test_id("hit"), page.get_by_test_id("status")
    expect(hits).to_have_count(24)
    walk = [(page.url, "at random", ids(page))]
    for _ in range(3):
        been = [url.rpartition("=")[2] for url, *_ in walk]
        chosen = next(number for number in ids(page)[1:] if number not in been)
        link = page.locator(f'[data-testid=hit][data-id="{chosen}"] a')
        told = f"like {link.get_attribute('title')}"
        link.click()
        expect(page).to_have_url(re.compile(rf"\?id={chosen}$"))
        expect(status).to_contain_text(told)
        walk.append((page.url, told, ids(page)))

    def is_shown(url: str, told: str, shown: list[str]) -> None:
        expect(page).to_have_url(url)
        expect(status).to_contain_text(told)
        assert ids(page)[:24] == shown[:24]  # further ones may have come since

    for step in (2, 1, 0):
        page.go_back()
        is_shown(*walk[step])
    page.go_forward()
    is_shown(*walk[1])


def test_a_link_shows_the_same_in_another_tab(page: Page, folder: Path) -> None:
    search_from(page, "coffee.jpg")
    page.goto(f"{page.url}&region=10%,10%,60%,70%&min_score=0.1&path=co")
    expect(page.get_by_test_id("region")).to_be_visible()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("like this part of coffee.jpg"))
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_test_id("status")).to_have_text(
        page.get_by_test_id("status").text_content() or "", use_inner_text=True
    )
    assert ids(other) == ids(page)
    assert 0 < len(ids(page)) < 12
    expect(other.get_by_test_id("region")).to_be_visible()
    assert region_of(other) == region_of(page)
    expect(other.get_by_test_id("min-score")).to_have_value("0.1")
    expect(other.locator(".chip")).to_have_text(["Pathco"])

    page.get_by_test_id("file").set_input_files(folder / "queries" / "pagoda-small.jpg")
    expect(page.get_by_test_id("status")).to_contain_text("like pagoda-small.jpg")
    other.goto(page.url)
    expect(other.get_by_test_id("status")).to_contain_text("like pagoda-small.jpg")
    assert ids(other) == ids(page)


def test_a_part_drawn_with_the_mouse_is_searched_for_and_cleared(page: Page) -> None:
    search_from(page, "astronaut.jpg")
    status, whole = page.get_by_test_id("status"), names(page)
    assert whole[0] != "shuttle-model.jpg"
    box = page.get_by_test_id("query").bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.mouse.move(*at(0.7, 0.02))
    page.mouse.down()
    page.mouse.move(*at(0.8, 0.3))
    page.mouse.move(*at(0.98, 0.55))
    page.mouse.up()
    expect(page).to_have_url(re.compile("region=70%25,2%25,28"))
    expect(status).to_contain_text("like this part of astronaut.jpg")
    assert names(page)[0] == "shuttle-model.jpg"
    left, top, width, height = region_of(page)
    assert (left, top, width, height) == pytest.approx((0.7, 0.02, 0.28, 0.53), abs=0.01)

    page.get_by_test_id("region-clear").click()
    expect(page).not_to_have_url(re.compile("region"))
    expect(status).to_have_text(re.compile("like astronaut.jpg$"))
    expect(page.get_by_test_id("region")).to_be_hidden()
    assert names(page)[:20] == whole[:20]


def test_the_minimum_score_and_the_filters_change_the_hits_and_the_address(page: Page) -> None:
    search_from(page, "moon.jpg")
    hits, status = page.get_by_test_id("hit"), page.get_by_test_id("status")
    similar = page.url.replace("?id=", "v1/pictures/") + "/similar"
    whole = page.request.get(similar, params={"k": len(VIEWS)}).json()["hits"]
    passing = [str(hit["id"]) for hit in whole if hit["score"] >= 0.4]
    assert 2 < len(passing) < 24 < len(whole)
    page.get_by_test_id("min-score").fill("0.4")
    expect(page).to_have_url(re.compile("min_score=0.4$"))
    expect(hits).to_have_count(len(passing))
    expect(status).not_to_contain_text("first")
    assert ids(page) == passing
    scores = [float(text) for text in page.get_by_test_id("score").all_text_contents()]
    assert min(scores) >= 0.4

    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Path").fill("moon")
    page.get_by_label("Path").press("Enter")
    expect(page).to_have_url(re.compile("min_score=0.4&path=moon$"))
    expect(hits).to_have_count(2)
    assert set(names(page)) == {"moon-crater.jpg", "moon-ridge.jpg"}

    page.get_by_test_id("min-score").fill("1")
    expect(page.locator("#state")).to_contain_text("No picture comes to a score of 1.00.")
    page.get_by_role("button", name="Lower the minimum score").click()
    expect(page).to_have_url(re.compile("min_score=0.8&path=moon$"))
    page.get_by_role("button", name="Remove the filter Path moon").click()
    page.get_by_test_id("min-score").fill("0")
    expect(page).to_have_url(re.compile(r"\?id=\d+$"))
    expect(status).to_contain_text("The first")

    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Format").select_option("PNG")
    page.get_by_label("Width from").fill("300")
    page.get_by_role("button", name="Done").click()
    expect(page).to_have_url(re.compile("format=PNG&min_width=300$"))
    expect(page.locator(".chip")).to_have_count(2)
    expect(status).not_to_contain_text("first")
    assert names(page)
    assert all(name.endswith(".png") for name in names(page))


def test_scrolling_brings_the_rest(page: Page) -> None:
    page.set_viewport_size({"width": 800, "height": 500})
    page.goto("?order=path")
    hits = page.get_by_test_id("hit")
    expect(hits).to_have_count(24)
    hits.last.scroll_into_view_if_needed()
    expect(hits).not_to_have_count(24)
    hits.last.scroll_into_view_if_needed()
    expect(hits).to_have_count(len(VIEWS))
    assert names(page) == sorted(view.name for view in VIEWS)

    search_from(page, "horse.png")
    expect(hits).to_have_count(24)
    hits.last.scroll_into_view_if_needed()
    expect(hits).not_to_have_count(24)
    hits.last.scroll_into_view_if_needed()
    expect(hits).to_have_count(len(VIEWS) - 1)
    assert len(set(ids(page))) == len(VIEWS) - 1


def test_the_details_tell_of_a_picture_copy_its_path_and_open_its_file(
    visit: tuple[Page, Watch], folder: Path
) -> None:
    page, _ = visit
    search_from(page, "coffee-cup.jpg")
    hit = page.get_by_test_id("hit").first
    assert names(page)[0] == "coffee.jpg"
    hit.hover()
    hit.get_by_test_id("info").click()
    details = page.get_by_test_id("details")
    for told in ("coffee.jpg", "600 × 400 pixels", "JPEG", "espresso", "Added", "Score"):
        expect(details).to_contain_text(told)
    expect(page).to_have_url(re.compile(rf"show={hit.get_attribute('data-id')}$"))

    details.get_by_test_id("copy").click()
    expect(details.get_by_test_id("copy")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == str(folder / "gallery" / "coffee.jpg")

    with page.context.expect_page() as opened:
        details.get_by_role("link", name="Original", exact=True).click()
    opened.value.wait_for_load_state()
    expect(opened.value.locator("img")).to_have_js_property("naturalWidth", 600)
    assert opened.value.evaluate("document.contentType") == "image/jpeg"
    opened.value.close()
    with page.expect_download() as saved:
        details.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == "coffee.jpg"
    assert Path(saved.value.path()).read_bytes() == Path(copied).read_bytes()

    details.get_by_role("button", name="espresso").click()
    expect(page.locator(".chip")).to_have_text(["Labelespresso"])
    expect(details).to_be_hidden()


LIGHT = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const alpha = (x, y) => data[4 * (Math.floor(y * height) * width + Math.floor(x * width)) + 3];
  const box = canvas.getBoundingClientRect();
  const image = canvas.parentElement.querySelector("img").getBoundingClientRect();
  const apart = ["left", "top", "width", "height"].map(edge => Math.abs(box[edge] - image[edge]));
  return { light: 255 - alpha(0.85, 0.2), dark: 255 - alpha(0.2, 0.8), apart: Math.max(...apart) };
}"""


def test_a_switch_shows_which_places_of_both_pictures_made_them_match(
    visit: tuple[Page, Watch], folder: Path
) -> None:
    page, watch = visit
    watch.expect("willReadFrequently")  # it is the test that reads the canvas
    details, query = page.get_by_test_id("details"), page.get_by_test_id("query")
    shades = page.locator("canvas.shade")

    def open_details(name: str) -> None:
        hit = page.get_by_test_id("hit").filter(has=page.locator(f'a[title="{name}"]'))
        hit.get_by_role("link").focus()
        page.keyboard.press("i")
        for told in (name, "Added"):  # all of it is there
            expect(details).to_contain_text(told)

    search_from(page, "astronaut.jpg")
    open_details("shuttle-model.jpg")
    switch = details.get_by_role("button", name="Why?")
    expect(switch).to_have_attribute("aria-pressed", "false")
    expect(shades).to_have_count(0)
    switch.press("Enter")
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(shades).to_have_count(2)
    expect(details.locator("canvas.shade")).to_be_visible()
    # the model stands in the upper right of the query, and is what both show
    found = query.locator("canvas.shade").evaluate(LIGHT)
    assert found["light"] > 200
    assert found["dark"] < 120
    for side in (query, details):
        assert side.locator("canvas.shade").evaluate(LIGHT)["apart"] < 1.5

    # another hit has another reason; the switch stays on until it is put out
    before = query.locator("canvas.shade").evaluate("canvas => canvas.toDataURL()")
    with page.expect_response("**/why?**"):
        page.keyboard.press("ArrowLeft")
    expect(details).not_to_contain_text("shuttle-model.jpg")
    expect(shades).to_have_count(2)
    assert query.locator("canvas.shade").evaluate("canvas => canvas.toDataURL()") != before
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "false")
    expect(shades).to_have_count(0)
    switch.click()
    expect(shades).to_have_count(2)
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(shades).to_have_count(0)

    # what was dropped is explained too, and a part of it in its place
    drop(page, folder / "queries" / "cat-mirrored.jpg")
    expect(page.get_by_test_id("status")).to_contain_text("like cat-mirrored.jpg")
    page.goto(f"{page.url}&region=0%,0%,50%,100%")
    expect(page.get_by_test_id("status")).to_contain_text("like this part of cat-mirrored.jpg")
    open_details("cat.jpg")
    details.get_by_role("button", name="Why?").click()
    expect(shades).to_have_count(2)
    outside = query.locator("canvas.shade").evaluate(LIGHT)["light"]
    assert outside == 255  # beyond the part the picture is dimmed by the rectangle, as before

    page.goto("./")
    expect(page.get_by_test_id("hit").first).to_be_visible()
    page.get_by_test_id("hit").first.get_by_role("link").focus()
    page.keyboard.press("i")
    expect(details).to_be_visible()
    expect(details.get_by_role("button", name="Why?")).to_have_count(0)


def test_the_keyboard_alone_leads_to_a_search_and_into_details_and_back(page: Page) -> None:
    page.goto("./?order=path")
    expect(page.get_by_test_id("hit").first).to_be_visible()
    order, keys = ids(page), page.keyboard

    def focused() -> str | None:
        """The picture in focus, which is to be seen."""
        found: list[str | bool | None] = page.evaluate("""() => {
          const link = document.activeElement;
          const seen = link.matches(":focus-visible") &&
            [link, ...link.children].some((e) => getComputedStyle(e).outlineStyle === "solid");
          return [link.closest("[data-testid=hit]")?.dataset.id, seen];
        }""")
        assert found[1], "the focus is not to be seen"
        return found[0]  # type: ignore[return-value]

    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    keys.press("Enter")
    keys.press("Tab")
    assert focused() == order[0]
    for key, at in (("ArrowRight", 1), ("End", -1), ("Home", 0), ("ArrowRight", 1)):
        keys.press(key)
        assert focused() == order[at]
    keys.press("ArrowDown")
    assert focused() not in order[:2]
    keys.press("ArrowUp")
    chosen = focused()

    keys.press("Enter")
    expect(page).to_have_url(re.compile(rf"\?id={chosen}$"))
    expect(page.get_by_test_id("status")).to_contain_text("like")
    first = ids(page)[0]
    keys.press("Home")
    assert focused() == first
    keys.press("i")
    expect(page.get_by_test_id("details")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"show={first}$"))
    keys.press("ArrowRight")
    expect(page).to_have_url(re.compile(rf"show={ids(page)[1]}$"))
    keys.press("ArrowLeft")
    expect(page).to_have_url(re.compile(rf"show={first}$"))
    focused()
    keys.press("Escape")
    expect(page.get_by_test_id("details")).to_be_hidden()
    expect(page).to_have_url(re.compile(rf"\?id={chosen}$"))
    assert focused() == first

    keys.press("/")
    expect(page.get_by_label("Path")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_test_id("filters")).to_be_hidden()
    keys.press("?")
    expect(page.locator("#help")).to_be_visible()
    keys.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_the_keyboard_alone_searches_a_part(page: Page) -> None:
    search_from(page, "astronaut.jpg")
    page.get_by_role("button", name="Search a part").press("Enter")
    region = page.get_by_test_id("region")
    expect(region).to_be_focused()
    before = region_of(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    left, top, width, height = region_of(page)
    assert (left, top) == pytest.approx((before[0] + 0.02, before[1]), abs=0.003)
    assert (width, height) == pytest.approx((before[2], before[3] + 0.02), abs=0.003)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("region=27%25,25%25,50%25,52%25"))
    expect(page.get_by_test_id("status")).to_contain_text("like this part of astronaut.jpg")
    region.press("Escape")
    expect(page).not_to_have_url(re.compile("region"))
