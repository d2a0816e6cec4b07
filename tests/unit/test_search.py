"""The search of lists: how it is read, what it finds, how far it looks, and what it keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liteq import LiteQ
from liteq.clock import START_MS
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.tasks import matching
from liteq.monitor.tasks.matching import find, find_all
from liteq.monitor.tasks.search import BadSearch, parse
from liteq.monitor.tasks.tasks import tasks
from liteq.states import State
from liteq.testing import FakeClock, drain

NOON_MS = START_MS + 12 * 3_600_000


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="shop.pay", sensitive=["card"], max_retries=0)
    def pay(order: int, card: str = "", user: dict | None = None) -> None:
        if order % 2:
            raise ValueError(f"card {card} declined")

    @app.task(name="shop.mail")
    def mail(to: str) -> None: ...

    yield app
    app.close()


@pytest.fixture
def sent(app) -> LiteQ:
    """Payments 0 to 5, of which the odd ones have failed, and a letter that waits."""
    for order in range(6):
        app.tasks["shop.pay"].apply_async((order,), {"card": "4111-1111", "user": {"id": 40 + order}}, queue="pay")
    drain(app, ["pay"])
    app.tasks["shop.mail"].apply_async(("ann@example.org",), task_id="letter")
    return app


def ids(app: LiteQ, q: str, **options) -> list[str]:
    return [one["id"] for one in tasks(app, q, **options)["items"]]


def orders(app: LiteQ, q: str, see: Sight = ALL) -> set[int]:
    """The orders of the payments that a search finds."""
    search = parse(q, now_ms=app.clock.now_ms())
    known = app.storage.reader.find_many([one.id for one in find_all(app, search, see=see)])
    return {int(one.payload.split(b"[[")[1].split(b"]")[0]) for one in known.values() if one.task == "shop.pay"}


# -- read ------------------------------------------------------------------------------------------------------------


def test_words_values_and_quotation_marks_are_read():
    found = parse('state:dead,cancelled queue:mail task:shop.* "no such card" error:"a b"', now_ms=NOON_MS)
    assert found.states == (State.DEAD, State.CANCELLED)
    assert [found.queue.fits(name) for name in ("mail", "mailer")] == [True, False]
    assert [found.task.fits(name) for name in ("shop.pay", "shopping")] == [True, False]
    assert (found.words, found.error) == (("no such card",), ("a b",))


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("since:1h", NOON_MS - 3_600_000),
        ("since:90s", NOON_MS - 90_000),
        ("since:11:30", NOON_MS - 1_800_000),
        ("since:13:00", NOON_MS - 23 * 3_600_000),
        ("since:2026-01-01T06:00", START_MS + 6 * 3_600_000),
        ("since:2026-01-01T06:00+01:00", START_MS + 5 * 3_600_000),
    ],
)
def test_a_time_is_a_span_back_a_time_of_the_day_or_a_date(text, ms):
    assert parse(text, now_ms=NOON_MS).since_ms == ms


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("stat:dead", "unknown word stat:.*nearest is state:"),
        ("state:deed", "unknown state 'deed': the nearest is dead"),
        ("http://x", "text with a colon stands in quotation marks"),
        ("args:77", "needs to say which argument"),
        ("args.x:77", "named by its place or its name"),
        ("queue:", "a value is missing behind queue:"),
        ("since:soon", "cannot read 'soon'; write it as in since:1h"),
        ("since:25:00", "no time of the day"),
        ("since:1h since:2h", "one time, not several"),
        ("run:fast", "cannot read 'fast'; write it as in run:>5s"),
        ("retries:many", "write it as in retries:>2"),
        ("retries:²", "write it as in retries:>2"),
        ("args.²:77", "named by its place or its name"),
        ("-queue:mail", "only -task: leaves something out"),
        ('"open', "quotation mark is not closed"),
        ("x" * 2_001, "at most 2,000 characters"),
        ("queue:" + ",".join("abcdefghij" for _ in range(101)), "100 values at most"),
    ],
)
def test_what_cannot_be_read_is_explained(text, error):
    with pytest.raises(BadSearch, match=error):
        parse(text, now_ms=NOON_MS)


# -- found -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("state:dead", {1, 3, 5}),
        ("state:dead,succeeded", {0, 1, 2, 3, 4, 5}),
        ("task:shop.pay state:succeeded", {0, 2, 4}),
        ("-task:shop.mail", {0, 1, 2, 3, 4, 5}),
        ("-task:shop.*", set()),
        ("queue:pay,other", {0, 1, 2, 3, 4, 5}),
        ("queue:celery", set()),
        ("args.0:3", {3}),
        ("args.0:3,4", {3, 4}),
        ("kwargs.user.id:45", {5}),
        ("kwargs.user.id:4?", {0, 1, 2, 3, 4, 5}),
        ("error:ValueError", {1, 3, 5}),
        ("error:DECLINED", {1, 3, 5}),
        ("error:KeyError", set()),
        ("retries:0 state:dead", {1, 3, 5}),
        ("retries:>0", set()),
        ("priority:>=-100 state:dead", {1, 3, 5}),
        ("priority:-5", set()),
        ("since:1h state:dead", {1, 3, 5}),
        ("until:1h state:dead", set()),
    ],
)
def test_a_search_finds_what_fits_it(sent, q, found):
    sent.clock.advance(seconds=60)
    assert orders(sent, q) == found


def test_words_are_looked_for_in_arguments_and_errors(sent):
    assert ids(sent, "ANN@example.org") == ["letter"]
    assert orders(sent, '"declined"') == {1, 3, 5}


def test_a_bracket_is_no_pattern(sent):
    assert orders(sent, "queue:[pay]") == set()


def test_an_id_and_the_beginning_of_one_find_it(sent):
    dead = ids(sent, "state:dead")[0]
    assert ids(sent, dead) == ids(sent, dead[:35]) == [dead]
    assert ids(sent, "lette") == ["letter"]


# -- pages and windows -----------------------------------------------------------------------------------------------


def test_pages_follow_each_other_without_gap_or_repetition(sent):
    for q in ("", "state:dead,succeeded,pending", "task:shop.pay", "args.0:1,2,3,4", "error:declined"):
        whole = ids(sent, q)
        paged, after = [], None
        while True:
            page = tasks(sent, q, after=after, limit=2)
            paged += [one["id"] for one in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert paged == whole, q
        assert len(set(paged)) == len(paged)


def test_until_leaves_out_what_was_cancelled_since(sent):
    early, late = (sent.send_task("shop.pay", (n,)).id for n in (1, 2))
    sent.storage.cancel([early])
    sent.clock.advance(seconds=7_200)
    sent.storage.cancel([late])
    assert ids(sent, "state:cancelled until:1h") == [early]
    assert ids(sent, "state:cancelled since:1h") == [late]


def test_a_window_ends_and_says_how_far_back_it_looked(sent, monkeypatch):
    monkeypatch.setattr(matching, "WINDOW", 3)
    sent.clock.advance(seconds=120)
    first = tasks(sent, "args.0:0")
    assert first["items"] == []
    assert first["searched"] == 3
    assert first["note"].startswith("searched 3 tasks, 2 min back")
    found, after = [], first["next"]
    while after:
        page = tasks(sent, "args.0:0", after=after)
        found, after = found + page["items"], page["next"]
    assert [one["task"] for one in found] == ["shop.pay"]


@pytest.mark.parametrize("after", ["x", "WzAsMV0x", "e30", "WzAsdHJ1ZV0", "Wzk5LDFd", "WzAsMSwyLDNd"])
def test_a_mark_that_is_none_is_refused(sent, after):
    with pytest.raises(BadSearch, match="no mark of this list"):
        tasks(sent, "", after=after)


def test_what_is_older_than_asked_for_ends_the_walk(sent):
    sent.clock.advance(seconds=7_200)
    assert tasks(sent, "state:dead since:1h")["searched"] <= 3
    assert ids(sent, "since:1h") == []


# -- kept to itself --------------------------------------------------------------------------------------------------


def test_a_search_answers_nothing_that_a_page_hides(sent):
    assert orders(sent, "kwargs.card:4111-1111") == set()
    assert orders(sent, "kwargs.card:4*") == set()
    assert ids(sent, '"4111-1111"') == []
    assert orders(sent, "error:4111") == set()
    assert "4111-1111" not in str(tasks(sent, "state:dead"))


def test_one_without_the_right_to_arguments_does_not_search_them(sent):
    blind = Sight(None, payloads=False)
    with pytest.raises(BadSearch, match="needs the right `payloads`"):
        tasks(sent, "args.0:3", see=blind)
    assert ids(sent, "ann@example.org", see=blind) == []
    found = tasks(sent, '"declined"', see=blind)
    assert len(found["items"]) == 3
    assert "errors alone" in found["note"]


def test_other_queues_are_neither_listed_nor_found(sent):
    mine = Sight(("cel*",))
    assert ids(sent, "", see=mine) == ["letter"]
    assert ids(sent, "state:dead", see=mine) == []
    dead = ids(sent, "state:dead")[0]
    assert ids(sent, dead, see=mine) == []
    assert [one.id for one in find(sent, parse(f"root:{dead}", now_ms=0), see=mine).lines] == []
