"""Dates in the forms that devices and programs write: each is read right, or not claimed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from parecido.indexer.pictures.metadata.dates import Moment, from_unix, read_moment

FORMS = {
    # EXIF, and what devices make of it
    "2019:07:21 10:11:12": "2019-07-21T10:11:12",
    "2019:07:21 10:11:12.345": "2019-07-21T10:11:12",
    "2019:07:21 10:11:12+02:00": "2019-07-21T10:11:12",
    "2019:07:21 10:11:12.345-0330": "2019-07-21T10:11:12",
    "2019-07-21 10:11:12": "2019-07-21T10:11:12",
    "2019/07/21 10:11:12": "2019-07-21T10:11:12",
    "2019:07:21T10:11:12": "2019-07-21T10:11:12",
    "2019:07:21 10:11": "2019-07-21T10:11:00",
    "2019:7:21  9:05:03": "2019-07-21T09:05:03",
    "2019:07:21 10:11:12 PM": "2019-07-21T22:11:12",
    "2019:07:21 12:01:02 am": "2019-07-21T00:01:02",
    "1899:12:31 00:00:00": "1899-12-31T00:00:00",
    # parts that are not known
    "2019:07:21   :  :  ": "2019-07-21",
    "2019:07:  :  :  ": "2019-07",
    "2019:07:00 00:00:00": "2019-07",
    "2019:00:00 00:00:00": "2019",
    "2019:  :     :  :  ": "2019",
    "2019:07:21 25:61:00": "2019-07-21",
    "2019:07:21": "2019-07-21",
    # XMP: ISO 8601
    "2019-07-21T10:11:12": "2019-07-21T10:11:12",
    "2019-07-21T10:11:12.5+02:00": "2019-07-21T10:11:12",
    "2019-07-21T10:11-07:00": "2019-07-21T10:11:00",
    "2019-07-21": "2019-07-21",
    "2019-07": "2019-07",
    "2019": "2019",
    "20190721T101112": "2019-07-21T10:11:12",
    "20190721": "2019-07-21",
    # PNG: RFC 1123, and what C, Java and JavaScript print
    "Sun, 21 Jul 2019 10:11:12 +0200": "2019-07-21T10:11:12",
    "21 Jul 2019 10:11:12": "2019-07-21T10:11:12",
    "21 July 2019": "2019-07-21",
    "Sunday, 21-Jul-2019 10:11:12": "2019-07-21T10:11:12",
    "Sun Jul 21 10:11:12 2019": "2019-07-21T10:11:12",
    "Sun Jul 21 10:11:12 CEST 2019": "2019-07-21T10:11:12",
    # the year last: only where the day cannot be the month
    "21.07.2019 10:11:12": "2019-07-21T10:11:12",
    "7/21/2019": "2019-07-21",
    "07/07/2019": "2019-07-07",
    "03/04/2020": None,
    "03.04.2020 10:11:12": None,
    # clocks that were never set, and days to come
    "0000:00:00 00:00:00": None,
    "0000-00-00T00:00:00": None,
    "    :  :     :  :  ": None,
    "1970:01:01 00:00:00": None,
    "1970:01:01 01:00:00": None,
    "1969:12:31 16:00:00": None,
    "1970-01-01": None,
    "1980:01:01 00:00:00": None,
    "2000:01:01 00:00:12": None,
    "1904:01:01 00:00:00": None,
    "2562:07:21 10:11:12": None,
    "9999-12-31": None,
    # days that there are not, and what is no date
    "2024:13:01 00:00:00": None,
    "2019:02:30 10:11:12": None,
    "0021:07:19 10:11:12": None,
    "yesterday": None,
    "21 Brumaire 2019": None,
    "2019 pictures of cats": None,
    "٢٠١٩:٠٧:٢١ ١٠:١١:١٢": None,
    "2019:07:21 10:11:12" + "0" * 100: None,
    "": None,
}


@pytest.mark.parametrize("text", FORMS)
def test_a_form_of_a_date_is_read_right_or_not_claimed(text: str) -> None:
    moment = read_moment(text)
    assert (moment and moment.text) == FORMS[text]


@pytest.mark.parametrize(
    "text",
    [
        *("2019-07-21T10:11:12Z", "Sun, 21 Jul 2019 10:11:12 GMT"),
        *("2019:07:21 10:11:12 UTC", "Sun Jul 21 10:11:12 UTC 2019"),
    ],
)
def test_a_time_of_greenwich_is_told_as_one(text: str) -> None:
    assert read_moment(text) == Moment("2019-07-21T10:11:12", is_utc=True)


def test_seconds_since_1970_are_greenwichs() -> None:
    assert from_unix(1563703872) == Moment("2019-07-21T10:11:12", is_utc=True)
    assert from_unix(0) is from_unix(1e300) is from_unix(float("nan")) is None


def test_tomorrow_may_be_todays_date_elsewhere_and_later_is_none() -> None:
    now = datetime.now()
    assert read_moment((now + timedelta(hours=14)).isoformat()) is not None
    assert read_moment((now + timedelta(days=2)).isoformat()) is None


def test_dates_sort_as_time_does() -> None:
    texts = ["2018", "2018-12-31T23:59:59", "2019", "2019-01", "2019-01-01", "2019-01-01T00:00:00"]
    moments = [read_moment(text) for text in texts]
    assert [moment.text for moment in moments if moment] == texts == sorted(texts)
