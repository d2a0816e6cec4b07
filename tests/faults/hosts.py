"""Hosts on one machine: each has a network, PIDs, a name and a boot of its own, and a cable that can be pulled.

A host is a nursery (nursery.py) that is the first process of its namespaces: when it is killed, all die with it. The
hosts' cables lead to a switch, a network namespace in which the servers are. Files are shared.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

from .harness import children_of, wait_for
from .nursery import Nursery, Process

__all__ = ["Host", "Switch", "why_none"]

ISOLATED = ["unshare", "--net", "--pid", "--uts", "--ipc", "--mount", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
# A kernel's boot has one number: hosts of one machine have it in common, unless another file stands in its place.
BECOME_HOST = """
hostname "$1" && mount --bind "$2" /proc/sys/kernel/random/boot_id && ip link set lo up && shift 2 && exec "$@"
"""
NET = "10.7.0"
SERVERS = [f"{NET}.1", f"{NET}.2"]


def why_none() -> str:
    """Why there can be no such hosts here; "" where there can."""
    try:
        tried = subprocess.run(
            [*ISOLATED, "ip", "link", "add", "type", "veth"], capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError as error:
        return f"there is no {error.filename} (Debian: apt-get install util-linux iproute2)"
    return "" if tried.returncode == 0 else f"no namespaces and no cables here: {tried.stderr.strip()}"


class Switch:
    """The network in the middle, with the addresses of the servers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        try:
            wait_for(lambda: _network_of(self.pid) != _network_of(os.getpid()))
            self.run("ip", "link", "set", "lo", "up")
            self.run("ip", "link", "add", "br0", "type", "bridge")
            for address in SERVERS:
                self.run("ip", "address", "add", f"{address}/24", "dev", "br0")
            self.run("ip", "link", "set", "br0", "up")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def inside(self, *command: str, user: int = 0, group: int = 0) -> list[str]:
        """A command line that runs `command` at the switch, as another user if need be."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--setuid={user}", f"--setgid={group}", *command]

    def run(self, *command: str) -> None:
        subprocess.run(self.inside(*command), check=True, capture_output=True, timeout=60)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Host:
    """A host with a fixed address. `name`: its host name, which it may have in common with others."""

    def __init__(self, switch: Switch, number: int, name: str, folder: Path, env: dict[str, str]) -> None:
        self.number, self.name = number, name
        self._switch, self._folder, self._env = switch, folder, env
        self._boots = count(1)
        self.is_up = False
        self.boot()

    @property
    def label(self) -> str:
        """The name of this host in the drill, the same over its boots."""
        return f"h{self.number}"

    def boot(self) -> None:
        """Start the host, with nothing on it."""
        n = next(self._boots)
        boot = self._folder / f"boot-{self.number}-{n}"
        boot.write_text(f"{uuid4()}\n")
        self.boot_id = boot.read_text().strip()
        self._cable = f"v{self.number}b{n}"
        host = [*ISOLATED, "sh", "-c", BECOME_HOST, "sh", self.name, str(boot)]
        self.nursery = Nursery({**self._env, "DRILL_HOST": self.label}, within=host)
        wait_for(lambda: children_of(self.nursery.pid))
        (self.init,) = children_of(self.nursery.pid)
        wait_for(lambda: _network_of(self.init) != _network_of(os.getpid()))
        switch = self._switch
        switch.run(*["ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", str(self.init)])
        switch.run("ip", "link", "set", self._cable, "master", "br0", "up")
        inside = ["nsenter", f"--net=/proc/{self.init}/ns/net", "ip"]
        for words in (f"address add {NET}.{10 + self.number}/24 dev eth0", "link set eth0 up"):
            subprocess.run([*inside, *words.split()], check=True, capture_output=True, timeout=60)
        self.is_up = True

    def start(self, args: list[str], env: dict[str, str], name: str) -> Process:
        """Start a Python process on this host; its output goes to files called `name`."""
        out, err = self._folder / name, self._folder / f"{name}.err"
        env = {**self._env, "DRILL_HOST": self.label, **env}
        return _Outside(self, self.nursery.start(args, env, self._folder, out, err))

    def processes(self) -> Iterator[int]:
        """All processes of this host but its first, as this machine numbers them; parents first."""
        left = children_of(self.init)
        while left:
            pid = left.pop(0)
            yield pid
            left += children_of(pid)

    def die(self) -> None:
        """Kill everything on it at once, as if it had lost its power."""
        self.is_up = False
        os.kill(self.init, signal.SIGKILL)
        self.nursery.close()

    def pull(self) -> None:
        """Pull its cable: no packet goes either way, and nobody is told."""
        self._switch.run("ip", "link", "set", self._cable, "nomaster")

    def plug(self) -> None:
        """Plug its cable in again."""
        self._switch.run("ip", "link", "set", self._cable, "master", "br0")

    def close(self) -> None:
        if self.is_up:
            self.die()


class _Outside:
    """A process of a host, by this machine's number of it."""

    def __init__(self, host: Host, inside: Process) -> None:
        self._host, self._inside, self._init = host, inside, host.init
        self.pid = self._number()

    @property
    def _is_up(self) -> bool:
        return self._host.is_up and self._host.init == self._init

    def _number(self) -> int:
        for pid in children_of(self._host.init):
            if _numbers_of(pid)[-1:] == [str(self._inside.pid)]:
                return pid
        return 0  # it has ended already

    def poll(self) -> int | None:
        return self._inside.poll() if self._is_up else -signal.SIGKILL

    def wait(self, timeout: float | None = None) -> int:
        return self._inside.wait(timeout) if self._is_up else -signal.SIGKILL

    def send_signal(self, sig: int, /) -> None:
        if self.pid and self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _numbers_of(pid: int) -> list[str]:
    """The numbers of a process in its namespaces, the innermost last."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])


def _network_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""
