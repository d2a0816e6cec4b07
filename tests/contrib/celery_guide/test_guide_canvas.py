"""The guide's chapter on workflows."""

from __future__ import annotations

import json

import pytest

from liteq import chain, chord, chunks, group, signature
from liteq.canvas import Signature, StampingVisitor, maybe_signature
from liteq.exceptions import ChordError
from liteq.result import GroupResult

W = 60  # for one result, on a busy machine


@pytest.fixture(scope="module")
def tsum(app):
    return app.task(name="canvas.tsum")(sum)


@pytest.fixture(scope="module")
def mul(app):
    return app.task(name="canvas.mul")(lambda x, y: x * y)


# -- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: signatures", "`signature(name, args=, kwargs=, **options)`, by the task's name")
def test_signature(app, run, add):
    sig = signature("guide.add", args=(2, 2), countdown=0, app=app)
    assert (sig.task, sig.args, sig.options) == ("guide.add", (2, 2), {"countdown": 0})
    assert run(sig) == 4


@pytest.mark.celery("Canvas: signatures", "`task.s()`, `task.signature((2, 2), countdown=10)`, keyword arguments")
def test_shortcuts(add):
    assert add.s(2, 2) == add.signature((2, 2))
    sig = add.signature((2,), {"y": 1}, countdown=10)
    assert (sig.args, sig.kwargs, sig.options) == ((2,), {"y": 1}, {"countdown": 10})


@pytest.mark.celery("Canvas: signatures", "`set()` changes options, also in a chain of calls")
def test_set(add):
    assert add.s(2, 2).set(countdown=1).set(queue="q").options == {"countdown": 1, "queue": "q"}


@pytest.mark.celery("Canvas: signatures", "`sig()` runs it here; `delay`, `apply_async` and `apply` as of a task")
def test_calling(worker, add):
    sig = add.s(2, 2)
    assert sig() == 4
    assert sig.apply().get() == 4
    assert sig.delay().get(timeout=W) == 4
    assert sig.apply_async(countdown=0).get(timeout=W) == 4


@pytest.mark.celery("Canvas: signatures", "A signature is a dict: JSON and back")
def test_json(app, run, add):
    again = maybe_signature(json.loads(json.dumps(add.s(2, 3))), app=app)
    assert isinstance(again, Signature)
    assert run(again) == 5


@pytest.mark.celery("Canvas: signatures", "Partials: arguments of the call come first, keywords and options are merged")
def test_partials(worker, add):
    assert add.s(2).clone((4,)).args == (4, 2)
    assert add.s(2, 2).clone(kwargs={"debug": True}).kwargs == {"debug": True}
    assert add.s(2).delay(4).get(timeout=W) == 6
    assert add.signature((2, 2), countdown=10).clone(countdown=1).options["countdown"] == 1


@pytest.mark.celery("Canvas: signatures", "`si()` and `immutable=True` take no result")
def test_immutable(run, add):
    assert add.si(2, 2).immutable
    assert run(chain(add.s(1, 1), add.si(4, 4), add.signature((5, 5), immutable=True))) == 10


@pytest.mark.celery("Canvas: signatures", "`set_immutable(True)`")
def test_set_immutable(add):
    sig = add.s(2, 2)
    sig.set_immutable(True)
    assert sig.immutable


@pytest.mark.celery("Canvas: signatures", "`link()` and `on_error()` add callbacks to a signature")
def test_link(app, worker, add, eventually):
    seen = []
    note = app.task(name="canvas.note")(seen.append)
    sig = add.s(2, 2)
    sig.link(note.s())
    sig.delay()
    eventually(lambda: seen == [4])


@pytest.mark.celery("Canvas: signatures", "`freeze()` gives the id beforehand; `sig.id`")
def test_freeze(worker, add):
    sig = add.s(2, 2)
    result = sig.freeze()
    sig.delay()
    assert result.get(timeout=W) == 4
    assert sig.id == result.id


# -- chains ----------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: chains", "Each task of a chain gets the result of the one before")
def test_chain(run, add, mul):
    assert run(chain(add.s(4, 4), mul.s(8), mul.s(10))) == 640


@pytest.mark.celery("Canvas: chains", "`|` makes a chain; so does one of chains")
def test_pipe(run, add, mul):
    assert run(add.s(4, 4) | mul.s(8)) == 64
    assert run((add.s(1, 1) | mul.s(2)) | (mul.s(3) | add.s(1))) == 13


@pytest.mark.celery("Canvas: chains", "A chain takes arguments for its first task")
def test_partial_chain(worker, add, mul):
    assert chain(add.s(4), mul.s(8)).delay(16).get(timeout=W) == 160
    assert chain(add.s(4), mul.s(8))(16).get(timeout=W) == 160


@pytest.mark.celery("Canvas: chains", "`result.parent` leads back to the first task")
def test_parent(worker, add, mul):
    result = chain(add.s(2, 2), add.s(4), mul.s(8))()
    assert result.get(timeout=W) == 64
    assert (result.parent.get(timeout=W), result.parent.parent.get(timeout=W)) == (8, 4)
    assert result.parent.parent.parent is None


@pytest.mark.celery("Canvas: chains", "`collect()` yields (result, value) down the graph; `children`")
def test_collect(worker, add):
    result = chain(add.s(1, 1), add.s(2))()
    result.get(timeout=W)
    first = result.parent
    assert [value for _, value in first.collect()] == [2, 4]
    assert first.children == [result]


@pytest.mark.celery("Canvas: chains", "`result.graph` is a graph of the workflow, for Graphviz")
def test_graph(worker, add):
    import io

    result = chain(add.s(1, 1), add.s(2))()
    result.get(timeout=W)
    dot = io.StringIO()
    result.parent.graph.to_dot(dot)
    assert "digraph" in dot.getvalue()
    assert result.id in dot.getvalue()


@pytest.mark.celery("Canvas: chains", "A failure ends the chain: later tasks do not run, `get()` raises it")
def test_broken_chain(app, worker, add, fail):
    ran = []
    note = app.task(name="canvas.never")(ran.append)
    result = chain(add.s(1, 1), fail.s(), note.s())()
    with pytest.raises(KeyError):
        result.get(timeout=W)
    assert (result.parent.state, ran) == ("FAILURE", [])


@pytest.mark.celery("Canvas: chains", "`chain.on_error` is an errback of each of its tasks")
def test_chain_on_error(app, worker, add, fail, eventually):
    seen = []
    errback = app.task(name="canvas.chain_error")(lambda request, exc, tb: seen.append(type(exc)))
    chain(add.s(1, 1), fail.s()).on_error(errback.s()).delay()
    eventually(lambda: seen == [KeyError])


# -- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: groups", "`group(...)()` runs its tasks side by side; results in their order")
def test_group(worker, add):
    result = group(add.s(2, 2), add.s(4, 4))()
    assert isinstance(result, GroupResult)
    assert result.get(timeout=W) == [4, 8]


@pytest.mark.celery("Canvas: groups", "A group takes a list, or a generator")
def test_group_of_generator(run, add):
    assert run(group(add.s(i, i) for i in range(10))) == [2 * i for i in range(10)]
    assert run(group([add.s(1, 1)])) == [2]


@pytest.mark.celery("Canvas: groups", "Arguments of the call go to each task")
def test_partial_group(worker, add):
    assert group(add.s(2), add.s(4)).delay(10).get(timeout=W) == [12, 14]


@pytest.mark.celery(
    "Canvas: groups", "ready, successful, failed, waiting, completed_count, join, results, indexing, iteration"
)
def test_group_result(worker, add, fail):
    good = group(add.s(i, i) for i in range(3))()
    assert good.join(timeout=W) == [0, 2, 4]
    assert (good.ready(), good.successful(), good.failed(), good.waiting()) == (True, True, False, False)
    assert (good.completed_count(), len(good), good[1].get(), [r.get() for r in good]) == (3, 3, 2, [0, 2, 4])
    bad = group(add.s(1, 1), fail.s())()
    with pytest.raises(KeyError):
        bad.get(timeout=W)
    assert (bad.failed(), bad.successful()) == (True, False)


@pytest.mark.celery(
    "Canvas: groups", "`save()` and `GroupResult.restore()`", differs="a group that was sent needs no save"
)
def test_restore(app, worker, add):
    result = group(add.s(1, 1), add.s(2, 2))()
    result.save()
    assert GroupResult.restore(result.id, app=app).get(timeout=W) == [2, 4]
    assert app.GroupResult.restore(result.id) == result
    result.delete()
    assert GroupResult.restore(result.id, app=app) is None


@pytest.mark.celery("Canvas: groups", "A callback of a group is one of its first task, and gets no result")
def test_group_link(app, worker, add, eventually):
    seen = []
    note = app.task(name="canvas.group_note")(lambda: seen.append(1))
    one = group(add.s(2, 2), add.s(4, 4))
    one.link(note.s())
    one.delay().get(timeout=W)
    eventually(lambda: seen == [1])


@pytest.mark.celery("Canvas: groups", "A group of one in a chain is unrolled to that one task")
def test_group_of_one(run, add):
    assert run(chain(add.s(1, 1), group(add.s(5)))) == 7


@pytest.mark.celery("Canvas: groups", "A group in a chain gets the result before it in each task")
def test_group_in_chain(run, add):
    assert run(chain(add.s(1, 1), group(add.s(10), add.s(20)))) == [12, 22]


@pytest.mark.celery("Canvas: groups", "An empty group has the result []")
def test_empty_group(app, worker):
    assert group([], app=app).apply_async().get(timeout=W) == []


# -- chords ----------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: chords", "The body gets the list of the header's results, in their order")
def test_chord(worker, add, tsum):
    assert chord(add.s(i, i) for i in range(50))(tsum.s()).get(timeout=W) == 2450
    assert chord([add.s(1, 1), add.s(2, 2)], tsum.s())().get(timeout=W) == 6


@pytest.mark.celery("Canvas: chords", "`interval=` and `max_retries=`: accepted, nothing polls for the header")
def test_chord_polling(worker, add, tsum):
    assert chord([add.s(1, 1)])(tsum.s(), interval=1, max_retries=3).get(timeout=W) == 2
    assert chord([add.s(1, 1)], tsum.s(), interval=1).apply_async(max_retries=3).get(timeout=W) == 2
    stored = {**chord([add.s(1, 1)], tsum.s()), "options": {"interval": 1, "max_retries": 3}}
    assert signature(json.loads(json.dumps(stored))).delay().get(timeout=W) == 2


@pytest.mark.celery("Canvas: chords", "`group | task` is a chord")
def test_upgrade(run, add, tsum):
    assert isinstance(group(add.s(1, 1), add.s(2, 2)) | tsum.s(), chord)
    assert run(group(add.s(1, 1), add.s(2, 2)) | tsum.s()) == 6


@pytest.mark.celery("Canvas: chords", "A chain goes through a group into the next task")
def test_chain_of_group(run, add, tsum, mul):
    assert run(add.s(1, 1) | group(add.s(1), add.s(2)) | tsum.s() | mul.s(10)) == 70


@pytest.mark.celery("Canvas: chords", "Chords in chords, groups in groups, chains in groups")
def test_nesting(run, add, tsum):
    inner = chord([add.s(1, 1), add.s(2, 2)], tsum.s())
    assert run(chord([inner, inner.clone(), add.s(1, 0)], tsum.s())) == 13
    assert run(group(group(add.s(1, 1), add.s(2, 2)), add.s(3, 3))) == [2, 4, 6]  # unrolled
    assert run(group(chain(add.s(1, 1), add.s(2)), add.s(1, 0))) == [4, 1]


@pytest.mark.celery("Canvas: chords", "An immutable body takes no results")
def test_immutable_body(worker, add):
    assert chord([add.s(1, 1), add.s(2, 2)])(add.si(9, 9)).get(timeout=W) == 18


@pytest.mark.celery("Canvas: chords", "When a task of the header fails, the body fails with ChordError, which names it")
def test_chord_error(worker, add, fail, tsum, eventually):
    result = chord([add.s(1, 1), fail.s()])(tsum.s())
    with pytest.raises((ChordError, KeyError)):  # of the header itself, where that has failed before get() is called
        result.get(timeout=W)
    eventually(lambda: result.state == "FAILURE")
    assert isinstance(result.result, ChordError)
    assert "KeyError('boom'" in str(result.result)
    assert result.parent[0].get(timeout=W) == 2


@pytest.mark.celery("Canvas: chords", "The body's errback is called when the header fails")
def test_chord_errback(app, worker, add, fail, tsum, eventually):
    seen = []
    errback = app.task(name="canvas.chord_error")(lambda request, exc, tb: seen.append(type(exc)))
    chord([add.s(1, 1), fail.s()])(tsum.s().on_error(errback.s()))
    eventually(lambda: seen == [ChordError])


@pytest.mark.celery(
    "Canvas: chords", "With `task_allow_error_cb_on_chord_header` an errback is one of the header's tasks too"
)
def test_errback_of_the_header(fresh):
    from liteq.testing import drain

    fresh.conf.task_allow_error_cb_on_chord_header = True
    seen = []
    fail = fresh.task(name="h.fail")(lambda: 1 / 0)
    body = fresh.task(name="h.body")(lambda results: results)
    errback = fresh.task(name="h.errback")(lambda: seen.append(1))
    one = chord([fail.s(), fail.s()], body.s())
    one.link_error(errback.si())
    one.delay()
    drain(fresh)
    assert len(seen) == 3  # of each task of the header, and of the body


@pytest.mark.celery("Canvas: chords", "An empty header runs the body with []")
def test_empty_chord(worker, tsum):
    assert chord([], tsum.s())().get(timeout=W) == 0


@pytest.mark.celery("Canvas: chords", "Tasks of the header may ignore their results for others: the body has them")
def test_ignored_header(app, worker, tsum):
    quiet = app.task(name="canvas.quiet", ignore_result=True)(lambda x: x)
    assert chord([quiet.s(1), quiet.s(2)])(tsum.s()).get(timeout=W) == 3


# -- map, chunks -----------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: map and chunks", "`map` and `starmap` are one message each")
def test_map(run, add, tsum):
    assert run(tsum.map([[1, 2], [3, 4]])) == [3, 7]
    assert run(add.starmap(zip(range(3), range(3), strict=True))) == [0, 2, 4]


@pytest.mark.celery("Canvas: map and chunks", "`chunks(it, n)`: one message for each n elements")
def test_chunks(worker, add):
    result = add.chunks(zip(range(10), range(10), strict=True), 4)()
    assert result.get(timeout=W) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
    assert isinstance(add.chunks([(1, 1)], 1), chunks)


@pytest.mark.celery("Canvas: map and chunks", "`chunks.group()` is a group; `skew()` delays each by a second more")
def test_chunks_group(add):
    grouped = add.chunks([(i, i) for i in range(6)], 2).group()
    assert len(grouped.tasks) == 3
    grouped.skew(start=1, stop=10)
    assert [task.options["countdown"] for task in grouped.tasks] == [1, 2, 3]


# -- stamping --------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Canvas: stamping", "`stamp(key=value)` stamps every task of a workflow; `request.stamps`")
def test_stamp(app, worker):
    @app.task(name="canvas.stamps", bind=True)
    def stamps(self, *_results):
        return self.request.stamped_headers, self.request.stamps

    sig = group(stamps.s(), stamps.s())
    sig.stamp(origin="shop")
    for headers, found in sig.delay().get(timeout=W):
        assert "origin" in headers
        assert found["origin"] in ("shop", ["shop"])


@pytest.mark.celery("Canvas: stamping", "A StampingVisitor's `on_signature` says what each is stamped with")
def test_visitor(app, worker):
    @app.task(name="canvas.monitoring", bind=True)
    def monitored(self, *_results):
        return self.request.stamps["monitoring_id"]

    class Monitoring(StampingVisitor):
        def on_signature(self, sig, **headers):
            return {"monitoring_id": f"id of {sig.task}", "stamped_headers": ["monitoring_id"]}

    sig = chain(monitored.s(), monitored.s())
    sig.stamp(visitor=Monitoring())
    assert sig.delay().get(timeout=W) in ("id of canvas.monitoring", ["id of canvas.monitoring"])
