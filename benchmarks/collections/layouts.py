"""Twelve kinds of page; each fills a blank one in its style with words and numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from math import cos, pi, sin

from benchmarks.collections.typesetting import Page

__all__ = ["LAYOUTS"]

_GREY = (150, 150, 154)
_PALE = (228, 231, 236)


def _letter(page: Page) -> None:
    s, m, right = page.style, page.style.margin, page.width - page.style.margin
    y = page.letterhead() + 20
    block = right - 260 if s.look % 2 else m
    for _ in range(4):
        page.text((block, y), page.words(page.between(2, 3)), s.size)
        y += s.size * 1.35
    page.text((right, y + 20), page.date(), s.size, anchor="ra")
    y += 80
    page.text((m, y), page.words(page.between(3, 6)), s.size + 3, bold=True)
    y += 60
    for _ in range(page.between(3, 5)):
        y = page.paragraph((m, y, right), page.between(25, 55), s.size) + s.size
    page.text((m, y + 20), page.words(2), s.size)
    page.draw.line((m, y + 110, m + 220, y + 110), s.accent, 2)
    page.text((page.width / 2, page.height - 50), s.name, 14, fill=_GREY, anchor="ma")


def _table(page: Page, top: float, rows: int, titles: list[str]) -> float:
    """A table in the style's own way, with as many columns as titles; where it ends."""
    s, m, right = page.style, page.style.margin, page.width - page.style.margin
    shares = s.columns[: len(titles)]
    total = sum(shares)
    edges = [m + (right - m) * x / total for x in accumulate(shares, initial=0.0)]
    step = s.size * (1.7 + 0.12 * s.look)
    page.draw.rectangle((m, top, right, top + step), s.accent if s.look % 2 else _PALE)
    for title, left in zip(titles, edges, strict=False):
        fill = (255, 255, 255) if s.look % 2 else (25, 25, 28)
        page.text((left + 8, top + step / 2), title, s.size - 2, bold=True, fill=fill, anchor="lm")
    for row in range(1, rows + 1):
        y = top + row * step
        if s.look in (0, 3) and row % 2 == 0:
            page.draw.rectangle((m, y, right, y + step), _PALE)
        if s.look in (1, 2):
            page.draw.line((m, y + step, right, y + step), _GREY, 1)
        for column, (left, end) in enumerate(pairwise(edges)):
            middle = y + step / 2
            if column == 0:
                page.text((left + 8, middle), page.words(1), s.size - 3, anchor="lm")
            else:
                page.text((end - 8, middle), page.money(900), s.size - 4, anchor="rm")
    if s.look in (2, 4):
        for x in edges:
            page.draw.line((x, top, x, top + (rows + 1) * step), _GREY, 1)
    return top + (rows + 1) * step


def _invoice(page: Page) -> None:
    s, m, right = page.style, page.style.margin, page.width - page.style.margin
    y = page.letterhead()
    page.text((m, y), ("INVOICE", "Bill", "Statement", "Receipt", "Order")[s.look], 42, bold=True)
    for i in range(3):
        page.text(
            (right, y + i * 28),
            f"{page.words(1)} {page.between(1000, 99999)}",
            s.size - 2,
            anchor="ra",
        )
    y += 130
    for _ in range(3):
        page.text((m, y), page.words(page.between(2, 3)), s.size)
        y += s.size * 1.35
    titles = ["Item", "Units", "Price", "Rate", "Total"][: 4 + s.look % 2]
    y = _table(page, y + 40, page.between(5, 14), titles)
    for i in range(3):
        page.text((right - 160, y + 20 + i * 34), ("Net", "Tax", "Total")[i], s.size, anchor="ra")
        page.text((right, y + 20 + i * 34), page.money(9000), s.size, bold=i == 2, anchor="ra")
    page.draw.line((right - 300, y + 124, right, y + 124), s.accent, 4)
    page.paragraph((m, page.height - 130, right), 24, 15)


def _paper(page: Page) -> None:
    s, m = page.style, page.style.margin
    columns = 3 if s.look == 4 else 2
    gap = 30
    page.text((page.width / 2, 70), page.words(5), 34, bold=True, anchor="ma")
    page.text((page.width / 2, 124), page.words(4).title(), 20, anchor="ma")
    top = page.paragraph((m + 60, 170, page.width - m - 60), page.between(45, 65), 15) + 30
    if s.look % 2:
        page.draw.line((m, top - 14, page.width - m, top - 14), s.accent, 2)
    wide = (page.width - 2 * m - gap * (columns - 1)) / columns
    figure = page.between(0, columns - 1)
    for column in range(columns):
        left, y = m + column * (wide + gap), top
        if column == figure:
            page.draw.rectangle((left, y, left + wide, y + 170), _PALE, _GREY)
            last = (left + 10, y + 150.0)
            for i in range(1, 12):
                point = (left + 10 + i * (wide - 20) / 11, y + page.between(20, 150))
                page.draw.line((last, point), s.accent, 3)
                last = point
            y += 190
        while y < page.height - 190:
            page.text((left, y), page.words(2), 18, bold=True, fill=s.accent)
            y = page.paragraph((left, y + 28, left + wide), page.between(35, 60), 14.5) + 14


def _form(page: Page) -> None:
    s, m, right = page.style, page.style.margin, page.width - page.style.margin
    y = page.letterhead()
    page.text((m, y), page.style.name + " form", 30, bold=True)
    y += 70
    across = 1 + s.look % 3
    while y < page.height - 260:
        wide = (right - m) / across
        for i in range(across):
            left = m + i * wide
            page.text((left, y), page.words(page.between(1, 2)), 15, fill=s.accent)
            box = (left, y + 22, left + wide - 14, y + 58)
            if s.look in (0, 3):
                page.draw.line((box[0], box[3], box[2], box[3]), _GREY, 2)
            else:
                page.draw.rectangle(box, None if s.look == 1 else _PALE, _GREY, 2)
            if page.rng.random() < 0.75:
                entry = page.words(1) if i % 2 == 0 else page.date()
                page.text((left + 10, y + 40), entry, 19, fill=(30, 50, 140), anchor="lm")
        y += 80
    for i in range(4):
        x = m + (i % 2) * (right - m) / 2
        top = y + 20 + i // 2 * 50
        page.draw.rectangle((x, top, x + 26, top + 26), None, (40, 40, 44), 2)
        if page.rng.random() < 0.5:
            page.draw.line((x + 4, top + 4, x + 22, top + 22), (30, 50, 140), 4)
            page.draw.line((x + 22, top + 4, x + 4, top + 22), (30, 50, 140), 4)
        page.text((x + 40, top + 2), page.words(3), 17)


def _chart_frame(page: Page) -> tuple[float, float, float, float]:
    """Title, grid and axes; the box ``(left, top, right, bottom)`` for the data."""
    s, m = page.style, page.style.margin
    x = page.width / 2 if s.look % 2 else m
    page.text((x, 40), page.words(4), 34, bold=True, anchor="ma" if s.look % 2 else "la")
    left, top, right, bottom = m + 60.0, 130.0, page.width - m * 0.6, page.height - 110.0
    if s.look in (2, 4):
        page.draw.rectangle((left, top, right, bottom), _PALE)
    for i in range(6):
        y = bottom - (bottom - top) * i / 5
        if s.look != 1:
            page.draw.line((left, y, right, y), (205, 207, 212), 1)
        page.text((left - 10, y), str(i * page.style.size), 17, anchor="rm")
    page.draw.line((left, bottom, right, bottom), (40, 40, 44), 3)
    if s.look in (0, 1):
        page.draw.line((left, top, left, bottom), (40, 40, 44), 3)
    page.text(((left + right) / 2, page.height - 45), page.words(2), 20, anchor="ma")
    return left, top, right, bottom


def _bars(page: Page) -> None:
    s = page.style
    left, top, right, bottom = _chart_frame(page)
    count, series = page.between(5, 9), 1 + s.look % 3
    step = (right - left) / count
    for i in range(count):
        base = bottom
        for j in range(series):
            height = (bottom - top) * page.rng.uniform(0.1, 0.95) / (series if s.look == 4 else 1)
            fill = (s.accent, s.second, _GREY)[j]
            if s.look == 4:  # on top of one another
                page.draw.rectangle(
                    (left + (i + 0.2) * step, base - height, left + (i + 0.8) * step, base), fill
                )
                base -= height
            else:
                wide = 0.7 * step / series
                x = left + (i + 0.15) * step + j * wide
                page.draw.rectangle((x, bottom - height, x + wide - 2, bottom), fill)
        page.text((left + (i + 0.5) * step, bottom + 12), page.words(1)[:5], 16, anchor="ma")


def _lines(page: Page) -> None:
    s = page.style
    left, top, right, bottom = _chart_frame(page)
    count = 30 if s.look < 3 else 10
    for colour in (s.accent, s.second, (120, 120, 126))[: 1 + (s.look + 1) % 3]:
        value, points = page.rng.uniform(0.3, 0.7), []
        for i in range(count):
            value = min(0.96, max(0.04, value + page.rng.normal(0, 0.07 if s.look < 3 else 0.15)))
            x = left + (right - left) * i / (count - 1)
            points.append((x, bottom - (bottom - top) * value))
        if s.look == 2:
            page.draw.polygon([(left, bottom), *points, (right, bottom)], colour)
        page.draw.line(points, colour, 4)
        if s.look >= 3:
            for x, y in points:
                page.draw.ellipse((x - 8, y - 8, x + 8, y + 8), colour)


def _slide(page: Page) -> None:
    s, m = page.style, page.style.margin
    white = (255, 255, 255)
    dark = s.look in (1, 4)
    if dark:
        page.draw.rectangle((0, 0, page.width, page.height), s.accent)
        if s.look == 4:
            page.draw.rectangle((0, 150, page.width, 162), s.second)
            page.draw.rectangle((0, page.height - 130, page.width, page.height), s.second)
    elif s.look == 0:
        page.draw.rectangle((0, 0, page.width, 150), s.accent)
    elif s.look == 2:
        page.draw.rectangle((0, 0, 220, page.height), s.second)
    else:
        page.draw.rectangle((0, page.height - 70, page.width, page.height), s.accent)
    left = 260 if s.look == 2 else m
    title = white if dark or s.look == 0 else s.accent
    page.text((left, 75), page.words(page.between(3, 4)), 50, bold=True, fill=title, anchor="lm")
    y = 210.0
    for _ in range(page.between(3, 5)):
        page.draw.ellipse((left, y + 8, left + 18, y + 26), s.second)
        text = white if dark else (35, 35, 38)
        page.text((left + 40, y), page.words(page.between(3, 5)), 32, fill=text)
        y += 80
    page.mark(page.width - 110, page.height - 110, 70)


def _receipt(page: Page) -> None:
    s, middle = page.style, page.width / 2
    if s.look % 2:
        page.mark(middle - 35, 30, 70)
    page.text((middle, 120), s.name.upper(), 36, bold=True, anchor="ma")
    for i in range(2):
        page.text((middle, 172 + i * 28), page.words(3), 20, anchor="ma")
    y = 250.0
    rule = ("-" * 40, "=" * 40, "*" * 40, "." * 60, "_" * 34)[s.look]
    page.text((middle, y), rule, 22, anchor="ma")
    y += 44
    for _ in range(page.between(6, 16)):
        page.text((36, y), page.words(page.between(1, 2)).upper()[:18], 23)
        page.text((page.width - 36, y), page.money(90), 23, anchor="ra")
        y += 36
    page.text((middle, y), rule, 22, anchor="ma")
    page.text((36, y + 44), "TOTAL", 34, bold=True)
    page.text((page.width - 36, y + 44), page.money(900), 34, bold=True, anchor="ra")
    y += 130
    if s.look in (0, 2, 3):
        x = 90.0
        while x < page.width - 90:
            wide = page.between(2, 7)
            page.draw.rectangle((x, y, x + wide, y + 80), (20, 20, 22))
            x += wide + page.between(2, 8)
    else:
        page.text((middle, y), f"{page.date()}  {page.between(1000, 9999)}", 22, anchor="ma")


def _code(page: Page) -> None:
    s = page.style
    dark = s.look in (0, 2, 3)
    ground = ((30, 32, 38), s.paper, (10, 40, 54), (44, 40, 34), (255, 255, 255))[s.look]
    page.draw.rectangle((0, 0, page.width, page.height), ground)
    gutter = 70 if s.look in (0, 1, 4) else 20
    if s.look in (0, 4):
        page.draw.rectangle((0, 0, gutter - 8, page.height), (60, 62, 70) if dark else _PALE)
    if s.look in (2, 3):
        page.draw.rectangle((0, 0, page.width, 54), s.accent)
        for i in range(3):
            page.draw.ellipse(
                (20 + i * 36, 16, 42 + i * 36, 38),
                ((226, 90, 80), (230, 180, 60), (90, 190, 90))[i],
            )
    plain = (220, 222, 226) if dark else (30, 30, 34)
    keyword = tuple(min(255, c + 110) for c in s.accent) if dark else s.accent
    y, depth, line = 74.0, 0, 1
    while y < page.height - 40:
        if gutter == 70:
            page.text((gutter - 16, y), str(line), 18, fill=_GREY, anchor="ra")
        kind = page.between(0, 5)
        depth = 0 if kind == 0 else min(3, max(1, depth + page.between(-1, 1)))
        x = gutter + 10 + depth * 40
        if kind == 0:
            text, fill = f"def {page.words(1).lower()}({page.words(1).lower()}):", keyword
        elif kind == 1:
            text, fill = f"# {page.words(page.between(3, 6))}", _GREY
        elif kind == 2:
            text, fill = f"if {page.words(1).lower()} > {page.between(0, 99)}:", keyword
        else:
            name, other = page.words(2).lower().split()
            text, fill = f"{name} = {other}({page.between(0, 999)})", plain
        if page.rng.random() > 0.12:
            page.text((x, y), text, 19, fill=(fill[0], fill[1], fill[2]))
        y += 24 + 2 * s.look
        line += 1


def _music(page: Page) -> None:
    s, m, right = page.style, page.style.margin, page.width - page.style.margin
    page.text((page.width / 2, 50), page.words(3).title(), 38, bold=True, anchor="ma")
    page.text((right, 108), page.words(2).title(), 20, anchor="ra")
    gap, y = 10 + 1.5 * s.look, 180.0
    staves = 2 if s.look in (1, 3) else 1
    ink = (25, 25, 28)
    while y < page.height - 60 - staves * 9 * gap:
        start = y
        for _ in range(staves):
            for i in range(5):
                page.draw.line((m, y + i * gap, right, y + i * gap), ink, 2)
            x = m + 60.0
            while x < right - 40:
                note = page.between(-1, 9)
                at = y + note * gap / 2
                page.draw.ellipse((x, at - gap / 2, x + gap * 1.3, at + gap / 2), ink)
                up = note > 3
                stem = x + gap * 1.25 if up else x
                page.draw.line((stem, at, stem, at + (-3.2 if up else 3.2) * gap), ink, 2)
                x += page.between(30, 70)
            y += 9 * gap
        end = y - 5 * gap
        for i in range(5):
            x = m + (right - m) * i / 4
            page.draw.line((x, start, x, end), ink, 2)
        if s.look in (2, 4):
            page.paragraph((m, y - 3.2 * gap, right), 9, 16)
        y += 3 * gap


def _boxes(page: Page) -> None:
    s, m = page.style, page.style.margin
    page.text((m, 36), page.words(3), 30, bold=True, fill=s.accent)
    across, down = ((3, 4), (4, 3), (2, 5), (4, 5), (3, 3))[s.look]
    wide, high = (page.width - 2 * m) / across, (page.height - 160) / down
    places = [(i, j) for j in range(down) for i in range(across) if page.rng.random() < 0.8]
    centres = {(i, j): (m + (i + 0.5) * wide, 110 + (j + 0.5) * high) for i, j in places}
    for one, other in pairwise(places):
        (x0, y0), (x1, y1) = centres[one], centres[other]
        page.draw.line([(x0, y0), (x1, y0), (x1, y1)], (70, 70, 76), 3)
    for number, (x, y) in enumerate(centres.values()):
        box = (x - wide * 0.36, y - high * 0.27, x + wide * 0.36, y + high * 0.27)
        fill = (_PALE, s.accent, s.paper, s.second, _PALE)[s.look]
        if s.look in (0, 3):
            page.draw.rounded_rectangle(box, 18, fill, s.accent, 3)
        elif s.look == 4 and number % 2:
            page.draw.ellipse(box, s.accent)
        else:
            page.draw.rectangle(box, fill, s.accent, 3)
        light = s.look in (1, 3) or (s.look == 4 and number % 2 == 1)
        page.text(
            (x, y), page.words(1), 19, fill=(255, 255, 255) if light else (25, 25, 28), anchor="mm"
        )


def _street_map(page: Page) -> None:
    s = page.style
    land = ((242, 239, 230), (232, 238, 226), (250, 250, 250), (226, 230, 240), (246, 232, 214))
    page.draw.rectangle((0, 0, page.width, page.height), land[s.look])
    for _ in range(page.between(3, 6)):
        x, y, r = (page.between(0, page.width), page.between(0, page.height), page.between(50, 130))
        corners = [
            (
                x + r * page.rng.uniform(0.7, 1.3) * cos(i * pi / 4),
                y + r * page.rng.uniform(0.7, 1.3) * sin(i * pi / 4),
            )
            for i in range(8)
        ]
        page.draw.polygon(corners, ((190, 216, 170), (160, 200, 226))[page.between(0, 1)])
    slant, pitch = (0.0, 0.15, 0.3, -0.2, 0.5)[s.look], 70 + 18 * s.look
    for side in range(2):
        place = -600.0
        while place < 1800:
            ends = [(place, -20.0), (place + slant * 1200, 1240.0)]
            if side:
                ends = [(-20.0, place), (1240.0, place - slant * 1200)]
            main = page.rng.random() < 0.2
            page.draw.line(ends, _GREY, 18 if main else 9)
            page.draw.line(ends, s.accent if main else (255, 255, 255), 14 if main else 6)
            place += pitch * page.rng.uniform(0.6, 1.5)
    for _ in range(14):
        at = (page.between(20, page.width - 120), page.between(20, page.height - 40))
        page.text(at, page.words(1), 18, bold=page.rng.random() < 0.3)
    page.draw.rectangle((20, page.height - 70, 300, page.height - 20), s.paper, s.accent, 3)
    page.text((34, page.height - 45), s.name, 22, bold=True, anchor="lm")


_UPRIGHT, _WIDE, _STRIP = (900, 1200), (1120, 760), (560, 1100)
LAYOUTS: Mapping[str, tuple[tuple[int, int], Callable[[Page], None]]] = {
    "letter": (_UPRIGHT, _letter),
    "invoice": (_UPRIGHT, _invoice),
    "paper": (_UPRIGHT, _paper),
    "form": (_UPRIGHT, _form),
    "bars": (_WIDE, _bars),
    "lines": (_WIDE, _lines),
    "slide": (_WIDE, _slide),
    "receipt": (_STRIP, _receipt),
    "code": (_WIDE, _code),
    "music": (_UPRIGHT, _music),
    "boxes": (_UPRIGHT, _boxes),
    "map": (_WIDE, _street_map),
}
"""The kind → the page's ``(width, height)`` and what fills it."""
