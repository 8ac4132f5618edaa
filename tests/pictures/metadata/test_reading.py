"""What the parts of a picture's file tell, which of them counts, and that damage stays local."""

from __future__ import annotations

import io
import random
import struct

import pytest
from PIL import Image

from parecido.indexer.pictures.decode import Limits, decode
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.decoding.processes import DecoderProcesses
from parecido.indexer.pictures.metadata.reading import Metadata
from parecido.indexer.pictures.metadata.xmp import read_xmp
from parecido.indexer.pictures.wanted import ForEncoder
from parecido.indexer.records.details import NO_DETAILS, Details
from tests.support.fakes import fake_spec
from tests.support.metadata import (
    CHANGED,
    DIGITISED,
    ORIGINAL,
    exif,
    iptc,
    jpeg_with,
    plain,
    png_with,
    resource,
    xmp,
)

ISO, MOMENT = "2019-07-21T10:11:12", "2019-07-21T10:11:12"
FIELDS = iptc((2, 55, b"20190721"), (2, 60, b"101112+0200"))
TIFF_IPTC, TIFF_RESOURCES, TIFF_XMP = 33723, 34377, 700


def read(data: bytes) -> Metadata:
    decoded = decode(data, fake_spec(), Limits())
    return Metadata(decoded.taken, decoded.details)


def told(data: bytes) -> tuple[str | None, str | None]:
    found = read(data)
    return found.taken.at, found.details.taken_from


def tiff_with(tag: int, value: bytes) -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[tag], tags.tagtype[tag] = value, 7
    return plain("TIFF", tiffinfo=tags)


PROPERTIES = ["exif_DateTimeOriginal", "photoshop_DateCreated", "xmp_CreateDate"]


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("as_element", [False, True])
def test_xmp_tells_the_moment_in_every_format(form: str, name: str, as_element: bool) -> None:
    tag = name.replace("_", ":")
    packet = xmp(f"<{tag}>{ISO}</{tag}>") if as_element else xmp(**{name: ISO})
    if form == "PNG":
        data = png_with("iTXt", **{"XML:com.adobe.xmp": packet})
    elif form == "TIFF":
        data = tiff_with(TIFF_XMP, packet.encode())
    else:
        data = plain(form, xmp=packet.encode())
    assert told(data) == (MOMENT, "xmp")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_packet_may_be_in_any_encoding_of_unicode(encoding: str) -> None:
    found = read_xmp(xmp(xmp_CreateDate=ISO).encode(encoding))
    assert found.digitised is not None
    assert found.digitised.text == MOMENT


def test_iptc_tells_the_moment_in_jpeg_tiff_and_png() -> None:
    assert told(jpeg_with(resource(FIELDS))) == (MOMENT, "iptc")
    assert told(tiff_with(TIFF_IPTC, FIELDS)) == (MOMENT, "iptc")
    assert told(tiff_with(TIFF_RESOURCES, resource(FIELDS))) == (MOMENT, "iptc")
    raw = resource(FIELDS)
    profile = {"Raw_profile_type_iptc": f"\niptc\n{len(raw):8}\n{raw.hex()}\n"}
    assert told(png_with("zTXt", **profile)) == (MOMENT, "iptc")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turned", [False, True])
def test_iptc_in_a_tiff_may_be_declared_as_long_numbers(order: str, turned: bool) -> None:
    fields = FIELDS + b"\0" * (-len(FIELDS) % 4)
    if turned:
        fields = b"".join(fields[at : at + 4][::-1] for at in range(0, len(fields), 4))
    whole = b"II*\0" if order == "<" else b"MM\0*"
    entries = [
        *((256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 1)),
        (TIFF_IPTC, 4, len(fields) // 4, 12),
    ]
    whole += struct.pack(f"{order}I", 12 + len(fields)) + b"\0\0\0\0"
    whole += fields + struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        form = "HHIHxx" if kind == 3 else "HHII"
        whole += struct.pack(f"{order}{form}", tag, kind, count, value)
    assert told(whole + b"\0" * 4) == (MOMENT, "iptc")


def test_dates_in_the_first_directory_of_exif_count_too() -> None:
    assert told(plain(exif=exif(t9003="2019:07:21 10:11:12"))) == (MOMENT, "exif")


def test_iptc_tells_days_alone_and_parts_of_dates() -> None:
    assert told(jpeg_with(resource(iptc((2, 55, b"20190721"))))) == ("2019-07-21", "iptc")
    assert told(jpeg_with(resource(iptc((2, 55, b"20190000"))))) == ("2019", "iptc")
    assert told(jpeg_with(resource(iptc((2, 55, b"00000000"))))) == (None, None)


@pytest.mark.parametrize("kind", ["tEXt", "iTXt", "zTXt"])
@pytest.mark.parametrize("text", ["2019:07:21 10:11:12", "Sun, 21 Jul 2019 10:11:12 +0200"])
def test_a_text_of_a_png_tells_the_moment(kind: str, text: str) -> None:
    assert told(png_with(kind, Creation_Time=text)) == (MOMENT, "png")


def test_the_date_of_a_file_in_a_text_is_no_moment() -> None:
    assert told(png_with(**{"date:create": ISO, "date:modify": ISO})) == (None, None)


def test_taken_counts_before_digitised_and_that_before_changed_and_exif_before_the_rest() -> None:
    packet = xmp(exif_DateTimeOriginal="2001-01-02T00:00:00", xmp_CreateDate="2002-01-02")
    own = {ORIGINAL: "2000:05:01 00:00:01"}
    assert told(plain(exif=exif(own), xmp=packet.encode())) == ("2000-05-01T00:00:01", "exif")
    own = {DIGITISED: "2000:05:01 00:00:01"}
    assert told(plain(exif=exif(own), xmp=packet.encode())) == ("2001-01-02T00:00:00", "xmp")
    packet = xmp(xmp_CreateDate="2002-01-02")
    assert told(plain(exif=exif(own), xmp=packet.encode())) == ("2000-05-01T00:00:01", "exif")
    changed = exif(t0132="2020:05:01 00:00:01")
    assert CHANGED in changed
    assert told(plain(exif=changed, xmp=packet.encode())) == ("2002-01-02", "xmp")


def test_keywords_come_from_xmp_iptc_and_windows_each_once() -> None:
    bag = "<rdf:Bag><rdf:li>Meer</rdf:li><rdf:li>Küste</rdf:li></rdf:Bag>"
    packet = xmp(f"<dc:subject>{bag}</dc:subject>")
    assert read(plain(xmp=packet.encode())).details.keywords == ("Meer", "Küste")
    assert read(png_with("iTXt", **{"XML:com.adobe.xmp": packet})).details.keywords == (
        *("Meer", "Küste"),
    )
    for words in (("Meer", "Küste"), ("a", "b", "a")):
        block = iptc(*((2, 25, word.encode("cp1252")) for word in words))
        assert read(jpeg_with(resource(block))).details.keywords == tuple(dict.fromkeys(words))
    windows = exif(t9c9e="Meer;Küste;\0".encode("utf-16-le"))
    both = plain(exif=windows, xmp=xmp("<dc:subject>Ebbe</dc:subject>").encode())
    assert read(both).details.keywords == ("Meer", "Küste", "Ebbe")


def test_a_keyword_is_one_short_line_whatever_the_file_says() -> None:
    block = iptc((2, 25, b"A\x1b[31mB\nC"), (2, 25, b"x" * 500), (2, 25, b" "))
    assert read(jpeg_with(resource(block))).details.keywords == ("A[31mBC", "x" * 120)


@pytest.mark.parametrize(
    ("text", "stars"), [("5", 5), ("-1", -1), ("3.0", 3), ("0", 0), ("7", None), ("nan", None)]
)
def test_a_rating_is_minus_one_to_five(text: str, stars: int | None) -> None:
    assert read(plain(xmp=xmp(xmp_Rating=text).encode())).details.rating == stars


def test_a_rating_in_exif_counts_before_one_in_xmp() -> None:
    data = plain(exif=exif(t4746=4), xmp=xmp(xmp_Rating="2").encode())
    assert read(data).details.rating == 4


PARIS = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}


def test_a_place_comes_from_exif_or_from_xmp() -> None:
    found = read(plain(exif=exif(gps=PARIS))).details
    assert (found.latitude, found.longitude) == pytest.approx((48.858333, 2.294444), abs=1e-6)
    south = {**PARIS, 1: "S", 3: "W"}
    assert read(plain(exif=exif(gps=south))).details.latitude == pytest.approx(-48.858333, abs=1e-6)
    for latitude, longitude in [("48,51.5N", "2,17.6667E"), ("48,51,30N", "2,17,40E")]:
        packet = xmp(exif_GPSLatitude=latitude, exif_GPSLongitude=longitude)
        found = read(plain(xmp=packet.encode())).details
        assert (found.latitude, found.longitude) == pytest.approx((48.858333, 2.294444), abs=1e-5)


@pytest.mark.parametrize(
    "gps",
    [
        {**PARIS, 2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)},
        {**PARIS, 2: (91.0, 0.0, 0.0)},
        {**PARIS, 9: "V"},
        {2: PARIS[2], 4: PARIS[4]},
        {1: "N", 2: PARIS[2]},
    ],
)
def test_a_place_that_cannot_be_meant_is_not_claimed(gps: dict[int, object]) -> None:
    found = read(plain(exif=exif({ORIGINAL: "2019:07:21 10:11:12"}, gps)))
    assert found.details == Details("exif")
    assert found.taken.at == MOMENT


def test_a_packet_that_declares_entities_tells_nothing() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "2019-07-21">]>'
    packet = xmp("<xmp:CreateDate>&a;</xmp:CreateDate>")
    assert told(plain(xmp=(bomb + packet).encode())) == (None, None)
    wide = (bomb + xmp(xmp_CreateDate=ISO)).encode("utf-16-le")
    assert told(plain(xmp=wide)) == (None, None)


def test_what_a_packet_tells_of_other_pictures_is_not_taken() -> None:
    other = f'<rdf:Description xmp:CreateDate="{ISO}" xmp:Rating="3"/>'
    packet = xmp(f"<exif:Pantry><rdf:Bag><rdf:li>{other}</rdf:li></rdf:Bag></exif:Pantry>")
    assert read(plain(xmp=packet.encode())).details == NO_DETAILS


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_part_takes_nothing_from_the_others() -> None:
    own = {ORIGINAL: "2019:07:21 10:11:12"}
    for packet in (b"<broken", b"", b"\xff\xfe\0", b"<x:xmpmeta CreateDate"):
        assert told(plain(exif=exif(own), xmp=packet)) == (MOMENT, "exif")
    damaged = plain(exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", xmp=xmp(xmp_CreateDate=ISO).encode())
    assert told(damaged) == (MOMENT, "xmp")
    assert told(jpeg_with(resource(FIELDS + b"\x1c\x02\x19\xff"))) == (MOMENT, "iptc")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_metadata_with_any_byte_changed_leaves_the_picture_readable() -> None:
    chance = random.Random(7)
    packet = xmp(f"<exif:DateTimeOriginal>{ISO}</exif:DateTimeOriginal>", xmp_Rating="3").encode()
    data = plain(exif=exif({ORIGINAL: "2019:07:21 10:11:12"}, PARIS), xmp=packet)
    first, between, last = (data.index(mark) for mark in (b"Exif", b"http:", b"<?xpacket end"))
    # but for the mark and the length of a segment
    places = [*range(first + 6, between - 4), *range(between + 29, last)]
    for place in chance.sample(places, 200):
        broken = bytearray(data)
        broken[place] = chance.randrange(256)
        found = read(bytes(broken))
        assert found.taken.at is None or found.taken.at[:4].isdigit()
        assert found.details.latitude is None or abs(found.details.latitude) <= 90


def test_processes_that_decode_tell_all_of_it() -> None:
    packet = xmp("<dc:subject>Meer</dc:subject>", xmp_Rating="3", xmp_CreateDate=ISO)
    data = plain(exif=exif(gps=PARIS), xmp=packet.encode())
    processes = DecoderProcesses()
    try:
        drawn = processes.decode(Order(ForEncoder(fake_spec()), Limits()), data)
    finally:
        processes.stop()
    assert drawn is not None
    assert Metadata(drawn.taken, drawn.details) == read(data)
    assert drawn.details.keywords == ("Meer",)


def test_a_picture_in_memory_tells_what_pil_knows_of_it() -> None:
    image = Image.open(io.BytesIO(plain(xmp=xmp(xmp_CreateDate=ISO).encode())))
    assert decode(image, fake_spec(), Limits()).taken.at == MOMENT
