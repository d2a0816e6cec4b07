"""Runs the processes of the concurrent suite for a time, lets the queue come to rest, and reads their ledgers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liteq.policy.rates import Bucket
from liteq.states import FINISHED, State
from liteq.storage.storage import Storage, open_storage

from .actors import LEASE_S, PLACES, RATE_PER_S

ACTORS = Path(__file__).with_name("actors.py")
CREW = ("worker",) * 3 + ("producer",) * 2 + ("reaper",) * 2 + ("operator", "follower")
ENDS_BY_ITSELF = {"producer", "operator"}
REST_WITHIN_S, END_WITHIN_S = 60.0, 90.0


@dataclass
class Facts:
    """The processes' notes of all that they were told, and the store's rows at rest."""

    notes: list[dict[str, Any]]
    states: dict[str, State]
    groups: dict[str, tuple[int, int, int]]  # remaining, failed, and how many members have failed
    rated: set[str]
    placed: set[str]

    def of(self, what: str) -> Iterator[dict[str, Any]]:
        return (note for note in self.notes if note["what"] == what)

    def troubles(self) -> dict[str, Any]:
        """Everything that must not be, and is; by its name."""
        found = {
            "tokens twice": self.tokens_twice(),
            "tokens that went down": self.tokens_that_went_down(),
            "acknowledged twice": self.acknowledged_twice(),
            "settled twice": self.settled_twice(),
            "acknowledged, and ended otherwise": self.acknowledged_otherwise(),
            "lost": self.lost(),
            "unfinished at rest": self.unfinished(),
            "groups miscounted": self.miscounted(),
            "starts beyond the rate": self.starts_beyond_the_rate(),
            "places beyond the limit": self.places_beyond_the_limit(),
            "not seen by the follower": self.unseen(),
            "passed by unheard": self.unheard(),
            "there without the end that it follows": self.dropped(),
        }
        return {name: trouble for name, trouble in found.items() if trouble}

    def happened(self) -> dict[str, int]:
        """How often what was to happen has happened."""
        notes = Counter(note["what"] for note in self.notes)
        again = len(list(self.of("claimed"))) - len(self._claims())
        replayed = sum(len(note["ids"]) for note in self.of("replayed"))
        reaped, purged = (sum(note["n"] for note in self.of(what)) for what in ("reaped", "purged"))
        return {
            "sends": notes["sent"], "claims": notes["claimed"], "claims of what somebody had before": again,
            "replays": replayed, "leases reaped": reaped, "messages purged": purged, "events seen": notes["event"],
            "commands seen": notes["seen"], "groups": len(self.groups), "rated": len(self.rated),
            "placed": len(self.placed), "begun": notes["begun"], "ends with more": notes["followed"],
            "messages heard as they passed": notes["heard"],
        }  # fmt: skip

    # -- what must not be ----------------------------------------------------------------------------------------------

    def tokens_twice(self) -> list[int]:
        tokens = Counter(note["token"] for note in self.of("claimed"))
        return [token for token, n in tokens.items() if n > 1]

    def tokens_that_went_down(self) -> list[str]:
        """Messages that were claimed under a lower token by a call that began when one with a higher had ended."""
        found = set[str]()
        for id_, claims in self._claims().items():
            claims.sort(key=lambda claim: claim["ended"])
            for n, before in enumerate(claims):
                behind = [claim for claim in claims[n + 1 :] if claim["began"] > before["ended"]]
                if any(claim["token"] <= before["token"] for claim in behind):
                    found.add(id_)
        return sorted(found)

    def acknowledged_twice(self) -> list[str]:
        ends = Counter(note["id"] for note in self.of("settled") if note["how"] == "Ack")
        ends.update(note["id"] for note in self.of("ended"))
        return [id_ for id_, n in ends.items() if n > 1]

    def settled_twice(self) -> list[int]:
        ends = Counter(note["token"] for what in ("settled", "ended") for note in self.of(what))
        return [token for token, n in ends.items() if n > 1]

    def lost(self) -> set[str]:
        """Accepted messages that are not there, beyond those that a purge says it has deleted."""
        accepted = {id_ for note in self.of("sent") for id_ in note["ids"]} - self.groups.keys()
        missing = accepted - self.states.keys()
        return missing if len(missing) > sum(note["n"] for note in self.of("purged")) else set()

    def acknowledged_otherwise(self) -> dict[str, State | None]:
        """Messages that ended in another way than the worker was told."""
        told = {note["id"] for note in self.of("settled") if note["how"] == "Ack"}
        told |= {note["id"] for note in self.of("ended")}
        return {id_: self.states.get(id_) for id_ in told if self.states.get(id_) is not State.SUCCEEDED}

    def unfinished(self) -> dict[str, State]:
        return {id_: state for id_, state in self.states.items() if state not in FINISHED}

    def miscounted(self) -> dict[str, tuple[int, int, int]]:
        return {id_: found for id_, found in self.groups.items() if found[0] != 0 or found[1] != found[2]}

    def starts_beyond_the_rate(self) -> int:
        starts = [note for note in self.of("claimed") if note["id"] in self.rated]
        if not starts:
            return 0
        span_s = (max(note["ended"] for note in starts) - min(note["began"] for note in starts)) / 1e9
        return max(0, len(starts) - int(span_s * RATE_PER_S) - Bucket(RATE_PER_S).burst - 1)

    def places_beyond_the_limit(self) -> int:
        """How many more than may held a place at once, by what the workers know for sure."""
        ends = {note["token"]: note["began"] for what in ("settled", "ended") for note in self.of(what)}
        changes: list[tuple[int, int]] = []
        for note in self.of("claimed"):
            if note["id"] in self.placed:
                over = note["began"] + int(LEASE_S * 0.9 * 1e9)
                end = min(ends.get(note["token"], over), over)
                if end > note["ended"]:
                    changes += [(note["ended"], 1), (end, -1)]
        most = running = 0
        for _, change in sorted(changes):
            running += change
            most = max(most, running)
        return max(0, most - PLACES)

    def unseen(self) -> set[str]:
        """Events and commands that were written, and that the follower has not seen."""
        written = {note["event"] for note in self.of("settled")} | {note["name"] for note in self.of("command")}
        return written - {note["text"] for note in self.of("event")} - {note["name"] for note in self.of("seen")}

    def unheard(self) -> set[str]:
        """Messages that passed while the follower listened, and that it has not heard."""
        return {note["name"] for note in self.of("passed")} - {note["name"] for note in self.of("heard")}

    def dropped(self) -> set[str]:
        """Messages that were to follow the end of a lease that was over already."""
        return {note["id"] for note in self.of("dropped")} & self.states.keys()

    def _claims(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for note in self.of("claimed"):
            found[note["id"]].append(note)
        return found


def run(url: str, folder: Path, *, seconds: float, seed: int, crew: Sequence[str] = CREW) -> Facts:
    """Let a crew work on the store for so long, and then until it is at rest; what is known then."""
    storage = open_storage(url)
    storage.migrate()
    storage.limits.set("rate", rate=f"{RATE_PER_S}/s")
    storage.limits.set("places", concurrent=PLACES)
    ledgers = [folder / f"{n}-{role}.jsonl" for n, role in enumerate(crew)]
    processes = [
        subprocess.Popen([sys.executable, str(ACTORS), role, url, str(seconds), f"{seed}{n}", str(ledgers[n])])
        for n, role in enumerate(crew)
    ]
    try:
        for role, process in zip(crew, processes, strict=True):
            if role in ENDS_BY_ITSELF:
                assert process.wait(seconds + END_WITHIN_S) == 0, f"{role} has failed"
        until_rest(storage)
        (folder / "stop").touch()
        for role, process in zip(crew, processes, strict=True):
            assert process.wait(END_WITHIN_S) == 0, f"{role} has failed"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    try:
        return facts_of(storage, ledgers)
    finally:
        storage.close()


def until_rest(storage: Storage) -> None:
    """Wait until nothing is left that could run; what waits for ever is found by the oracle."""
    moving = {State.PENDING, State.SCHEDULED, State.LEASED, State.HELD}
    end, quiet = time.monotonic() + REST_WITHIN_S, 0
    while quiet < 3 and time.monotonic() < end:
        quiet = 0 if any(count.state in moving for count in storage.reader.counts()) else quiet + 1
        time.sleep(0.05)


def facts_of(storage: Storage, ledgers: Sequence[Path]) -> Facts:
    notes = [json.loads(line) for ledger in ledgers for line in ledger.read_text().splitlines()]
    with storage.driver.read() as tx:
        rows = tx.execute("SELECT id, state, keys, group_id FROM liteq_messages")
        groups = tx.execute("SELECT id, remaining, failed, group_id FROM liteq_groups")
    failed = Counter(group for _, state, _, group in rows if group and state != State.SUCCEEDED)
    failed.update(group for _, _, broken, group in groups if group and broken)
    return Facts(
        notes,
        {id_: State(state) for id_, state, _, _ in rows},
        {id_: (remaining, broken, failed[id_]) for id_, remaining, broken, _ in groups},
        {id_ for id_, _, keys, _ in rows if keys and "rate" in keys},
        {id_ for id_, _, keys, _ in rows if keys and "places" in keys},
    )
