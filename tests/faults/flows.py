"""A drill with runs of workflows: workers of `workflow_app.py` on one file, and the test as their client."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .harness import HERE, Drill, children_of, wait_for
from .nursery import Process

__all__ = ["ENDED", "Flows", "kill_parent"]

ENDED = {"succeeded", "failed", "cancelled"}


class Flows(Drill):
    """A drill whose processes have the app of runs. `code` is that app in this process, as a client."""

    code: ModuleType

    @classmethod
    def made(cls, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Flows:
        flows = cls(folder, forked=True)
        flows.settings |= {"LITEQ_VISIBILITY_TIMEOUT": "3", "DRILL_FOLDER": str(folder), "DRILL_COMMITS": "1"}
        flows.settings |= settings
        flows.storage().close()
        monkeypatch.setenv("DRILL_BROKER", f"sqlite:///{flows.db}")
        monkeypatch.setenv("DRILL_FOLDER", str(folder))
        monkeypatch.delenv("DRILL_CODE", raising=False)
        spec = importlib.util.spec_from_file_location("workflow_app", HERE / "workflow_app.py")
        assert spec is not None
        assert spec.loader is not None
        flows.code = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "workflow_app", flows.code)
        spec.loader.exec_module(flows.code)
        return flows

    def worker(self, children: int = 2, name: str = "worker", env: dict[str, str] | None = None) -> Process:
        command = ["-m", "liteq", "-A", "workflow_app", "worker", "-c", str(children), "-l", "info", "-n", f"{name}@%h"]
        return self.start(*command, name=name, env=env)

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self.code.app.close()
        super().close()

    # -- what is asked -------------------------------------------------------------------------------------------------

    def flow(self, name: str) -> Any:
        return getattr(self.code, name)

    def run(self, id_: str) -> Any:
        return self.code.app.Run(id_)

    def start_run(self, name: str, *args: Any, id_: str) -> Any:
        return self.flow(name).options(id=id_).start(*args)

    def set_clock(self, seconds: int) -> None:
        """Set the clock of all processes, this one's too, by so many seconds against the machine's."""
        new = self.folder / "clock.new"
        new.write_text(str(seconds))
        new.replace(self.folder / "clock")

    # -- what has happened ---------------------------------------------------------------------------------------------

    def notes(self, kind: str | None = None, run_id: str | None = None) -> list[tuple[str, str, int]]:
        """The ledger's lines (kind, run, process), of one kind and one run where these are given."""
        path = self.folder / "ledger"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        found = [(line[0], line[1], int(line[2])) for line in lines]
        return [one for one in found if kind in (None, one[0]) and run_id in (None, one[1])]

    def counts(self, run_id: str) -> dict[str, int]:
        """How often each kind of line is there for a run."""
        return dict(Counter(kind for kind, _, _ in self.notes(run_id=run_id)))

    def wait_noted(self, kind: str, run_id: str | None = None, n: int = 1, within_s: float = 60.0) -> int:
        """Until the n-th such line is there; the process that wrote it."""
        wait_for(lambda: len(self.notes(kind, run_id)) >= n, within_s=within_s)
        return self.notes(kind, run_id)[n - 1][2]

    def wait_ended(self, *ids: str, within_s: float = 60.0) -> None:
        """Until these runs have ended."""

        def ended() -> bool:
            return all(self.run(id_).status in ENDED for id_ in ids)

        try:
            wait_for(ended, within_s=within_s)
        except AssertionError:
            left = {id_: self.run(id_).status for id_ in ids if self.run(id_).status not in ENDED}
            raise AssertionError(f"not ended: {left}; {self.logs()[-3_000:]}") from None

    def wait_status(self, id_: str, *statuses: str, within_s: float = 60.0) -> None:
        wait_for(lambda: self.run(id_).status in statuses, within_s=within_s)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker*.err")))


def kill_parent(worker: Process) -> None:
    """SIGKILL a worker's parent; the kernel ends its children with it."""
    children = children_of(worker.pid)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not any(_lives(pid) for pid in children))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
