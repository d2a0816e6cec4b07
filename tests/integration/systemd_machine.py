"""A real systemd, in namespaces of its own: its units are the files of contrib/deploy, at other places.

It is PID 1 there, with a /run and a /srv of its own, in a control group of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .worker_process import HERE, children_of, wait_for

__all__ = ["Machine", "is_possible"]

DEPLOY = HERE.parents[1] / "contrib" / "deploy"
SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ("default", "basic", "sysinit", "multi-user", "shutdown")
# A unit may write where systemd lets it: /srv and /var/lib are the machine's own, not this one's.
SET_UP = """
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for folder in /run /srv /var/lib; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/systemd/system /srv/shop
mount --bind "$MACHINE" /srv/shop
exec "$SYSTEMD" --system --show-status=0 --log-target=console
"""
# This Python may be in somebody's home, where the units' user cannot see it.
AT_HOME = any(Path(sys.executable).resolve().is_relative_to(home) for home in ("/root", "/home"))
USER = "root" if AT_HOME else "nobody"
IN_TMP = any(Path(entry).resolve().is_relative_to("/tmp") for entry in (sys.prefix, *sys.path))
IN_PLACE_OF = {
    "/etc/liteq/": "/srv/shop/etc/",
    "User=liteq\n": f"User={USER}\n",
    "ProtectHome=yes\n": f"ProtectHome={'no' if AT_HOME else 'yes'}\n",
    "PrivateTmp=yes\n": f"PrivateTmp={'no' if IN_TMP else 'yes'}\n",
}


def _group() -> Path | None:
    """The root of the kernel's unified groups; None where there is none, or no right to it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"]
    return found[0] if found and os.access(found[0], os.W_OK) else None


def is_possible() -> bool:
    """Whether this machine lets a test start a systemd."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not SYSTEMD.exists() or _group() is None:
        return False
    unshare = ["unshare", "--pid", "--mount", "--cgroup", "--fork", "--mount-proc", "true"]
    return subprocess.run(unshare, capture_output=True).returncode == 0


class Machine:
    """`folder` is /srv/shop there, with `shop.py` as the app. To be closed."""

    def __init__(self, folder: Path, shop: str) -> None:
        self.folder = folder
        root = _group()
        assert root is not None
        self._group = root / f"liteq-test-{uuid.uuid4().hex[:8]}"
        folder.chmod(0o755)
        (folder / "shop.py").write_text(shop)
        self._write_units()
        self._write_programs()
        self._process = self._start()
        self._pid = 0

    def _write_units(self) -> None:
        units, etc = self.folder / "units", self.folder / "etc"
        units.mkdir()
        etc.mkdir()
        (etc / "liteq.env").write_text((DEPLOY / "liteq.env").read_text())
        for target in TARGETS:
            (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
        for unit in (DEPLOY / "systemd").glob("*.service"):
            text = unit.read_text()
            for ours, theirs in IN_PLACE_OF.items():
                assert ours in text, f"{unit.name} has no {ours!r}"
                text = text.replace(ours, theirs)
            (units / unit.name).write_text(text)
            self.drop_in(unit.name, "[Service]\nStandardOutput=append:/srv/shop/log\nStandardError=inherit\n", "log")

    def _write_programs(self) -> None:
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
        for name, words in (("liteq", "-m liteq"), ("python", "")):
            (programs / name).write_text(
                f'#!/bin/sh\nPYTHONPATH="/srv/shop:{path}" exec {sys.executable} {words} "$@"\n'
            )
            (programs / name).chmod(0o755)

    def drop_in(self, unit: str, text: str, name: str = "test") -> None:
        """Lines beside those of a unit, as `systemctl edit` writes them."""
        folder = self.folder / "units" / f"{unit}.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.conf").write_text(text)

    def _start(self) -> subprocess.Popen[bytes]:
        (self._group / "own").mkdir(parents=True)
        environ = {
            "PATH": os.environ["PATH"], "MACHINE": str(self.folder), "SYSTEMD": str(SYSTEMD), "container": "other",
            "SYSTEMD_UNIT_PATH": "/srv/shop/units",
        }  # fmt: skip
        enter = f'echo $$ > "{self._group}/own/cgroup.procs" && exec "$@"'
        namespaces = ["unshare", "--pid", "--mount", "--cgroup", "--ipc", "--uts", "--fork", "--mount-proc"]
        command = ["sh", "-c", enter, "sh", *namespaces, "--kill-child", "sh", "-c", SET_UP]
        with (self.folder / "systemd.log").open("wb") as log:
            return subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=self.folder)

    def booted(self) -> None:
        """Back when it takes commands."""

        def answers() -> bool:
            found = children_of(self._process.pid)
            assert self._process.poll() is None, (self.folder / "systemd.log").read_text()
            self._pid = found[0] if found else 0
            return bool(found) and self.systemctl("show", "--property=Version", check=False).returncode == 0

        wait_for(answers, what="systemd answers")

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        done = subprocess.run([*self._enter(), *words], capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{words}: {done.stderr}\n{self.log()}"
        return done

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.command("systemctl", *words, check=check)

    def liteq(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `liteq` there, as the units do: as their user, in their environment."""
        return self.command(*self._own(), "/srv/shop/.venv/bin/liteq", *words, check=check)

    def python(self, script: str) -> subprocess.Popen[str]:
        """Start a script of the folder there, in the same way."""
        command = [*self._enter(), *self._own(), "/srv/shop/.venv/bin/python", script]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _own(self) -> list[str]:
        lines = (self.folder / "etc" / "liteq.env").read_text().splitlines()
        environ = [line for line in lines if line and line[0] != "#"]
        return ["setpriv", "--reuid", USER, "--clear-groups", "--", "env", "--chdir=/srv/shop", *environ]

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._pid), "--pid", "--mount", "--cgroup"]

    @property
    def root(self) -> Path:
        """The root folder there, seen from here."""
        return Path(f"/proc/{self._pid}/root")

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", unit, f"--property={name}", "--value").stdout.strip()

    def log(self) -> str:
        """The log of all units."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def pid(self, unit: str) -> int:
        """The main process of a unit, by its number here."""
        (pid,) = (int(found) for found in self._pids() if self._number_there(found) == self.shown(unit, "MainPID"))
        return pid

    def _pids(self) -> Iterator[str]:
        return (name for name in os.listdir("/proc") if name.isdecimal() and self._number_there(name))

    def _number_there(self, pid: str) -> str:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self._pid}/ns/pid"):
                status = Path(f"/proc/{pid}/status").read_text()
                return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]
        return ""

    def close(self) -> None:
        for pid in children_of(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)  # the kernel kills all others of its namespace with it
        self._process.kill()
        self._process.wait()
        give_up = time.monotonic() + 60
        while self._group.exists():
            try:
                for folder, _, _ in os.walk(self._group, topdown=False):
                    Path(folder).rmdir()
            except OSError:  # its processes are about to end
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
