"""Moments in names of files: as devices and programs write them, and numbers that are none."""

from __future__ import annotations

import pytest

from parecido.indexer.pictures.metadata.names import read_name

WHOLE = "2020-01-31T23:59:58"
NAMES = {
    "IMG_20200131_235958.jpg": WHOLE,
    "IMG_20200131_235958_1.jpg": WHOLE,
    "IMG_20200131_235958_BURST001_COVER.jpg": WHOLE,
    "IMG20200131235958.jpg": WHOLE,
    "20200131_235958.jpg": WHOLE,
    "20200131_235958(0).jpg": WHOLE,
    "PXL_20200131_235958123.jpg": WHOLE,
    "PXL_20200131_235958123.PORTRAIT.jpg": WHOLE,
    "VID_20200131_235958.jpg": WHOLE,
    "2020-01-31 23.59.58.jpg": WHOLE,
    "2020-01-31 23.59.58-1.png": WHOLE,
    "2020-01-31_23-59-58.jpg": WHOLE,
    "2020-01-31T23:59:58.jpg": WHOLE,
    "Screenshot_2020-01-31-23-59-58.png": WHOLE,
    "Screenshot_2020-01-31-23-59-58-123_com.app.png": WHOLE,
    "Screenshot_20200131-235958_Chrome.png": WHOLE,
    "Screenshot 2020-01-31 at 23.59.58.png": WHOLE,
    "Screen Shot 2020-01-31 at 11.59.58 PM.png": WHOLE,
    "Screenshot 2020-01-31 at 11.59.58\u202fPM.png": WHOLE,
    "Screen Shot 2020-01-31 at 12.01.02 AM.png": "2020-01-31T00:01:02",
    "Screenshot from 2020-01-31 23-59-58.png": WHOLE,
    "Bildschirmfoto 2020-01-31 um 23.59.58.png": WHOLE,
    "signal-2020-01-31-235958.jpg": WHOLE,
    "signal-2020-01-31-23-59-58-123.jpg": WHOLE,
    "WhatsApp Image 2020-01-31 at 23.59.58.jpeg": WHOLE,
    "photo_2020-01-31_23-59-58.jpg": WHOLE,
    "WIN_20200131_23_59_58_Pro.jpg": WHOLE,
    "IMG-20200131-WA0001.jpg": "2020-01-31",
    "2020-01-31.jpg": "2020-01-31",
    "20200131 birthday.jpg": "2020-01-31",
    "scan_1950-06-05.tif": "1950-06-05",
    "20200131_987654.jpg": "2020-01-31",
    "FB_IMG_1580515198000.jpg": WHOLE,
    "mmexport1580515198123.jpg": WHOLE,
    "1580515198000.jpg": WHOLE,
    # numbers that are no dates
    "IMG_1234.jpg": None,
    "DSC_20209931.jpg": None,
    "IMG_20200230_101112.jpg": None,
    "IMG_20990131_101112.jpg": None,
    "03-04-2020.jpg": None,
    "2020.jpg": None,
    "2020-01.jpg": None,
    "202001311.jpg": None,
    "19700101_000000.jpg": None,
    "received_123456789012345.jpg": None,
    "4007817327098.jpg": None,
    "99c8b5a20200131f.jpg": None,
    "99c8b5-20200131f.jpg": None,
    "99c8b5a20200131.jpg": None,
    "holiday.jpg": None,
    "2020-00-00.jpg": None,
    ".jpg": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_moment_in_a_name_is_read_right_or_not_claimed(name: str) -> None:
    moment = read_name(name)
    assert (moment and moment.text) == NAMES[name]


@pytest.mark.parametrize("name", ["PXL_20200131_235958123.jpg", "FB_IMG_1580515198000.jpg"])
def test_names_by_greenwichs_time_are_told_as_such(name: str) -> None:
    moment = read_name(name)
    assert moment is not None
    assert moment.is_utc
    other = read_name("IMG_20200131_235958.jpg")
    assert other is not None
    assert not other.is_utc
