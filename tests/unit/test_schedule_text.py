"""Schedules as the text of a form, there and back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from liteq.schedules import crontab, schedule, solar, to_document
from liteq.schedules.base import zone_of
from liteq.schedules.text import schedule_from, text_of


@pytest.mark.parametrize("seconds", [0.000001, 0.5, 1, 90, 1234567, 2592000, 31536000.25])
def test_an_interval_loses_no_digit(seconds):
    document = to_document(schedule(timedelta(seconds=seconds), relative=True))
    assert to_document(schedule_from(text_of(document), document)) == document


def test_a_crontab_keeps_its_time_zone():
    made = crontab("30", "*/2", "mon-fri", "1, 15", "1-6")
    made.zone = zone_of("Europe/Paris")
    document = to_document(made)
    assert text_of(document) == "30 */2 1,15 1-6 mon-fri"
    again = to_document(schedule_from(text_of(document), document))
    assert again == {**document, "day_of_month": "1,15"}
    assert schedule_from("0 4 * * *", document).zone == zone_of("Europe/Paris")
    assert schedule_from("0 4 * * *").zone is None


def test_a_crontab_of_numbers_has_a_text():
    document = to_document(crontab(minute=[0, 30], hour=range(3), day_of_month=1))
    assert text_of(document) == "0,30 0,1,2 1 * *"
    assert schedule_from(text_of(document)) == crontab(minute=[0, 30], hour=range(3), day_of_month=1)


def test_the_sun_has_no_text():
    assert text_of(to_document(solar("sunset", 48.85, 2.35))) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("at dawn", "neither seconds nor the five fields"),
        ("", "neither seconds nor the five fields"),
        ("-1", "above 0"),
        ("nan", "above 0"),
        ("1e400", "infinity"),
        ("61 * * * *", "61 is not in 0-59"),
    ],
)
def test_what_is_no_schedule_is_told(text, says):
    with pytest.raises(ValueError, match=says):
        schedule_from(text)
