"""Words of `liteq multi` as workers: the nodes' names, and which options of `liteq worker` each of them gets."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path

import click

from liteq.cli.parts.names import unknown
from liteq.cli.processes.worker import worker as worker_command
from liteq.utils.records import dataclass

__all__ = ["Cluster", "Node", "expand", "parse"]

# In the working directory, as Celery's manual has it.
DEFAULTS = {"pidfile": "%n.pid", "logfile": "%n%I.log"}
FLAGS = frozenset({"--nosplash", "--quiet", "-q", "--verbose", "--no-color"})
OWN = frozenset({"prefix", "suffix", "range-prefix", "executable", "cmd"})
# --name:targets=value or -c:targets; -c4 and -linfo are taken apart before.
OPTION = re.compile(r"(?P<name>--?[A-Za-z][\w-]*)(?::(?P<targets>[^=]+))?(?:=(?P<value>.*))?", re.DOTALL)
# Celery's -TERM, -9; what looks like one and is none is told from flags in one word, such as -EB, by its SIG.
SIGNAL = re.compile(rf"-(?:{'|'.join(name.name.removeprefix('SIG') for name in signal.Signals)}|SIG\w+|\d+)")
SPAN = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class Node:
    """A worker to be: its name, where its process id is written, and what `liteq worker` is told."""

    name: str
    pidfile: Path
    arguments: tuple[str, ...]


@dataclass
class Cluster:
    """The nodes and options that the words of one call name."""

    nodes: list[Node]
    flags: frozenset[str] = frozenset()
    signal: str | None = None
    executable: str | None = None
    cmd: str | None = None


@dataclass
class _Words:
    names: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    own: dict[str, str] = field(default_factory=dict)
    signal: str | None = None
    # By what they mean, so that -c:1 10 takes the place of --concurrency=3: what is written on the command line.
    shared: dict[str, list[str]] = field(default_factory=dict)
    special: list[tuple[str, str, list[str]]] = field(default_factory=list)  # (targets, meaning, words)
    rest: list[str] = field(default_factory=list)


def parse(words: Sequence[str]) -> Cluster:
    """The nodes that `words` name, with their options. Raises UsageError for what cannot be meant.

    A number alone means so many nodes. `-c:1 10`, `-c:1-3,5 10`, `-c:name 10` are for some nodes only, by place or by
    name; what stands after `--` goes to all. `-TERM`, a signal's name in capitals, or its number: for stop and restart.
    """
    read = _read(list(words))
    names = _names(read)
    if not names:
        raise click.UsageError("no nodes are named; give their names, or how many: `liteq multi start 2 -A proj`")
    options: list[dict[str, list[str]]] = [dict(read.shared) for _ in names]
    for targets, meaning, written in read.special:
        for place in _places(targets, names):
            options[place][meaning] = written
    nodes = [_node(name, own, read.rest) for name, own in zip(names, options, strict=True)]
    if len({node.pidfile for node in nodes}) < len(nodes):
        raise click.UsageError("these nodes have a pidfile in common: write %n, the node's name, in --pidfile")
    return Cluster(nodes, frozenset(read.flags), read.signal, read.own.get("executable"), read.own.get("cmd"))


def expand(template: str, name: str) -> str:
    """`template` for the node: %n its name before the @, %h its host, %d the host's domain, %p the whole name."""
    label, _, host = name.partition("@")
    marks = {"%n": label, "%h": host, "%d": host.partition(".")[2], "%p": name}
    return re.sub("%[nhdp]", lambda mark: marks[mark[0]], template)


# -- words -----------------------------------------------------------------------------------------------------------


def _read(words: list[str]) -> _Words:
    read = _Words()
    while words:
        word = words.pop(0)
        if word == "--":
            read.rest = ["--", *words]
            break
        if not word.startswith("-") or word == "-":
            read.names.append(word)
        elif word in FLAGS:
            read.flags.add(word)
        elif SIGNAL.fullmatch(word):
            read.signal = word[1:]
        else:
            _option(read, word, words)
    return read


def _option(read: _Words, word: str, words: list[str]) -> None:
    if not word.startswith("--") and len(word) > 2 and word[2] not in ":=":  # -c4
        read.shared[_meaning(word[:2])] = [word]
        return
    found = OPTION.fullmatch(word)
    if found is None:
        raise click.UsageError(f"not an option: {word!r}; write -c 4, -c:1 4, --concurrency=4 or --concurrency:1=4")
    name, targets, value = found["name"], found["targets"], found["value"]
    if value is None and _takes_value(name) and words and (not words[0].startswith("-") or words[0] == "-"):
        value = words.pop(0)
    if name.lstrip("-") in OWN:
        read.own[name.lstrip("-")] = value or ""
        return
    written = [name] if value is None else [f"{name}={value}"] if name.startswith("--") else [name, value]
    if targets is None:
        read.shared[_meaning(name)] = written
    else:
        read.special.append((targets, _meaning(name), written))


def _param(name: str) -> click.Option | None:
    for param in worker_command.get_params(click.Context(worker_command)):
        if isinstance(param, click.Option) and name in param.opts:
            return param
    return None


def _meaning(name: str) -> str:
    param = _param(name)
    return name if param is None or param.name is None else param.name


def _takes_value(name: str) -> bool:
    """Of the worker's options click knows it; what it does not know is the worker's to refuse."""
    param = _param(name)
    return param is None or not (param.is_flag or param.count)


# -- nodes -----------------------------------------------------------------------------------------------------------


def _names(read: _Words) -> list[str]:
    """The whole names of the nodes. `-n` says what comes after the @, as in Celery; %h: the host, %d: its domain."""
    host = socket.gethostname()
    told = _value(read.shared.pop("hostname", [""]))
    suffix = read.own.get("suffix") or told.rpartition("@")[2] or host
    for mark, value in (("%h", host), ("%n", host.partition(".")[0]), ("%d", host.partition(".")[2])):
        suffix = suffix.replace(mark, value)
    labels, prefix = read.names, read.own.get("prefix", "")
    if len(labels) == 1 and labels[0].isdigit():
        labels, prefix = [str(n + 1) for n in range(int(labels[0]))], read.own.get("range-prefix") or prefix or "liteq"
    labels = [prefix + label for label in labels]
    names = [label.replace("%h", host) if "@" in label else f"{label}@{suffix}" for label in labels]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two nodes have one name: {', '.join(names)}")
    return names


def _places(targets: str, names: list[str]) -> Iterable[int]:
    """The nodes that `1`, `1-3`, `name`, or several with commas between them, mean: their places from 0."""
    for target in targets.split(","):
        by_name = [n for n, name in enumerate(names) if target in (name, name.partition("@")[0])]
        span = SPAN.fullmatch(target)
        if by_name:
            yield from by_name
        elif target.isdigit() and 1 <= int(target) <= len(names):
            yield int(target) - 1
        elif span and 1 <= int(span[1]) <= int(span[2]) <= len(names):
            yield from range(int(span[1]) - 1, int(span[2]))
        else:
            raise unknown("node", target, names)


def _node(name: str, options: dict[str, list[str]], rest: list[str]) -> Node:
    for option, template in DEFAULTS.items():
        options.setdefault(option, [f"--{option}={template}"])
    options = {option: [expand(word, name) for word in words] for option, words in options.items()}
    flat = [word for words in options.values() for word in words]
    # The worker goes to its --workdir before it writes there; an absolute path stays what it is.
    pidfile = Path(_value(options.get("workdir", [""])), _value(options["pidfile"]))
    return Node(name, pidfile, ("-n", name, *flat, *rest))


def _value(written: list[str]) -> str:
    """The value of an option: `--pidfile=x` or `--pidfile x`."""
    return written[-1].partition("=")[2] if written[-1].startswith("--") else written[-1]
