"""The files of contrib/deploy: what they run is there, and what they say of time and place fits together."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from liteq.cli import main
from liteq.cli.group import COMMANDS
from liteq.cli.parts.exits import Exit
from liteq.metrics.names import LITEQ, series
from liteq.storage import describe_url

from .manager import Manager
from .test_first_process import NAMESPACE, first_of, namespaces_are_there
from .worker_process import HERE, wait_for

DEPLOY = HERE.parents[1] / "contrib" / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
FOLDER = "/var/lib/liteq"
FILE, SERVER = ("compose.yaml", "liteq.yaml"), ("compose.postgresql.yaml", "postgresql.yaml")  # where the queue is
SHOP = """
from liteq import LiteQ

app = LiteQ("shop")
app.conf.beat_schedule = {"look": {"task": "shop.add", "schedule": 3600.0, "args": (1, 1)}}


@app.task
def add(x: int, y: int) -> int:
    return x + y
"""

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="liteq's workers need POSIX")]


# -- what stands in them ---------------------------------------------------------------------------------------------


def section(unit: Path, name: str = "Service") -> configparser.SectionProxy:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(unit.read_text())
    return found[name]


def command_of(unit: Path) -> list[str]:
    """The words of ExecStart=, as systemd passes them on for the instance 1."""
    words = section(unit)["ExecStart"].split()
    return [word.replace("%i", "1").replace("%%", "%") for word in words]


def environment() -> dict[str, str]:
    lines = (DEPLOY / "liteq.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def dockerfile() -> dict[str, str]:
    lines = (DEPLOY / "docker" / "Dockerfile").read_text().splitlines()
    return {word: rest for word, _, rest in (line.partition(" ") for line in lines) if word.isupper()}


def services(file: str = FILE[0]) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((DEPLOY / "docker" / file).read_text())["services"]
    assert isinstance(found, dict)
    return found


def documents(file: str = FILE[1]) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / file).read_text()))


def pods(file: str = FILE[1]) -> dict[str, dict[str, Any]]:
    """The specifications of the pods, by the names of their deployments."""
    found = documents(file)
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in found if one["kind"] == "Deployment"}


def containers(file: str = FILE[1]) -> list[dict[str, Any]]:
    return [container for pod in pods(file).values() for container in pod["containers"]]


def procfile() -> dict[str, str]:
    lines = (DEPLOY / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command line of the files, from `liteq` on, with where it stands."""
    for unit in UNITS:
        yield unit.name, ["liteq", *command_of(unit)[1:]]
    entry = json.loads(dockerfile()["ENTRYPOINT"])
    yield "Dockerfile", entry + json.loads(dockerfile()["CMD"])
    for compose, manifest in (FILE, SERVER):
        for name, service in services(compose).items():
            if name == "postgres":
                continue
            yield f"{compose}, {name}", entry + service["command"]
            if test := service.get("healthcheck", {}).get("test"):
                assert test[0] == "CMD"
                yield f"{compose}, health of {name}", test[1:]
        for container in containers(manifest):
            yield f"{manifest}, {container['name']}", entry + container["args"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    yield f"{manifest}, {probe}", container[probe]["exec"]["command"]
    for name, line in procfile().items():
        yield f"Procfile, {name}", shlex.split(line.replace("${PORT:-8765}", "8765"))


@pytest.mark.parametrize(("words"), [pytest.param(words, id=where) for where, words in commands()])
def test_a_command_is_there_with_its_options(words):
    assert words[0] == "liteq"
    at = next(n for n, word in enumerate(words) if word in COMMANDS)
    group = main.make_context("liteq", words[1:])
    found = main.get_command(group, words[at])
    assert found is not None
    found.make_context(words[at], words[at + 1 :], parent=group)  # an unknown option raises


@pytest.mark.parametrize("words", [pytest.param(words, id=where) for where, words in commands() if "health" in words])
def test_a_probe_imports_nothing(words):
    assert "-A" not in words
    assert "LITEQ_APP" not in dockerfile()["ENV"]
    assert all("LITEQ_APP" not in one["data"] for one in documents() if one["kind"] == "ConfigMap")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd says whether a unit is right")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_a_unit(unit, tmp_path):
    text = unit.read_text().replace("/srv/shop/.venv/bin/liteq", sys.executable)
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(text)
    said = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (said.returncode, [line for line in said.stderr.splitlines() if copy.name in line]) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_does_not_start_again_what_cannot_start(unit):
    codes = [Exit(int(code)) for code in section(unit)["RestartPreventExitStatus"].split()]
    assert codes == [Exit.USAGE, Exit.CONFIG]


def test_all_write_to_the_one_folder_of_the_queue():
    url = f"sqlite:///{FOLDER}/queue.db"
    assert environment()["LITEQ_BROKER_URL"] == url
    assert f"LITEQ_BROKER_URL={url}" in dockerfile()["ENV"]
    assert {section(unit)["StateDirectory"].split()[0] for unit in UNITS} == {Path(FOLDER).name}
    assert all(f"queue:{FOLDER}" in service["volumes"] for service in services().values())
    data = [one["data"] for one in documents() if one["kind"] == "ConfigMap"]
    assert [one["LITEQ_BROKER_URL"] for one in data] == [url]
    assert all({"name": "queue", "mountPath": FOLDER} in container["volumeMounts"] for container in containers())


def test_the_image_has_each_folder_that_a_service_mounts_with_its_user_as_the_owner():
    (made,) = re.findall(
        r"install --directory --owner (\w+) --mode 750 ([^&\n]+)", (DEPLOY / "docker" / "Dockerfile").read_text()
    )
    assert made[0] == dockerfile()["USER"]
    mounted = {volume.partition(":")[2] for one in services().values() for volume in one["volumes"]}
    assert mounted == set(made[1].split())


def test_all_speak_to_the_one_server():
    server = services(SERVER[0])["postgres"]
    user, database = server["environment"]["POSTGRES_USER"], server["environment"]["POSTGRES_DB"]
    others = [one for name, one in services(SERVER[0]).items() if name != "postgres"]
    assert {one["environment"]["LITEQ_BROKER_URL"] for one in others} == {f"postgresql://{user}@postgres/{database}"}
    assert {one["environment"]["PGPASSWORD"] for one in others} == {server["environment"]["POSTGRES_PASSWORD"]}
    assert all(one["depends_on"] == {"postgres": {"condition": "service_healthy"}} for one in others)
    assert {"worker-1", "worker-2"} <= services(SERVER[0]).keys()
    (secret,) = (one for one in documents(SERVER[1]) if one["kind"] == "Secret")
    for url in (secret["stringData"]["LITEQ_BROKER_URL"], others[0]["environment"]["LITEQ_BROKER_URL"]):
        assert describe_url(url).kind == "server"
    assert all(one["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}] for one in containers(SERVER[1]))


def test_the_image_has_the_extras_that_its_services_need():
    (line,) = [line for line in (DEPLOY / "docker" / "Dockerfile").read_text().splitlines() if "pip install" in line]
    assert "liteq[$EXTRAS]" in line
    wanted = services(SERVER[0])["worker-1"]["build"]["args"]["EXTRAS"].split(",")
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    assert {"postgres", "metrics", "dashboard"} == set(wanted) <= project["optional-dependencies"].keys()


def test_workers_are_added_by_the_wait_of_the_oldest():
    (scaled,) = (one for one in documents(SERVER[1]) if one["kind"] == "ScaledObject")
    (worker,) = (one for one in documents(SERVER[1]) if one["metadata"]["name"] == "liteq-worker" and one != scaled)
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert "replicas" not in worker["spec"], "each `kubectl apply` would set them back"
    assert scaled["spec"]["minReplicaCount"] >= 2
    (trigger,) = scaled["spec"]["triggers"]
    (metric,) = re.findall(r"liteq_\w+", trigger["metadata"]["query"])
    assert metric in {series(one)[0] for one in LITEQ}
    (port,) = (one["ports"] for one in containers(SERVER[1]) if one["name"] == "metrics")
    annotations = next(one for one in documents(SERVER[1]) if one["metadata"]["name"] == "liteq-metrics")
    scraped = annotations["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
    assert [str(one["containerPort"]) for one in port] == [scraped]


def test_pods_of_one_queue_are_on_one_node_and_of_one_user():
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in documents() if one["kind"] == "Deployment"]
    for pod in pods().values():
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        wanted = term["labelSelector"]["matchLabels"].items()
        assert all(wanted <= own.items() for own in labels)
    assert len({json.dumps(pod["securityContext"], sort_keys=True) for pod in pods().values()}) == 1


@pytest.mark.parametrize("file", [FILE[1], SERVER[1]])
def test_pods_that_trust_a_network_are_reached_by_the_proxy_alone(file):
    trusting = [one for one in documents(file) if one["kind"] == "Deployment" and "--trust" in json.dumps(one)]
    policies = [one["spec"] for one in documents(file) if one["kind"] == "NetworkPolicy"]
    for one in trusting:
        labels = one["spec"]["template"]["metadata"]["labels"]
        (policy,) = (found for found in policies if found["podSelector"]["matchLabels"] == labels)
        assert policy["ingress"]
        assert all(rule["from"] for rule in policy["ingress"])


@pytest.mark.parametrize("file", [FILE[1], SERVER[1]])
def test_a_new_worker_is_there_before_an_old_one_goes(file):
    (worker,) = (one for one in documents(file)
                 if (one["kind"], one["metadata"]["name"]) == ("Deployment", "liteq-worker"))  # fmt: skip
    assert worker["spec"].get("replicas", 2) >= 2
    assert worker["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("file", [FILE[1], SERVER[1]])
def test_what_a_deployment_selects_are_its_own_pods(file):
    deployments = [one for one in documents(file) if one["kind"] == "Deployment"]
    for one in deployments:
        assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
    selectors = [one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for one in deployments]
    assert len(set(selectors)) == len(selectors), "the pods of one are none of another"


@pytest.mark.parametrize(("compose", "manifest"), [FILE, SERVER])
def test_tasks_have_the_same_time_to_finish_everywhere(compose, manifest):
    unit = DEPLOY / "systemd" / "liteq-worker@.service"
    assert section(unit)["TimeoutStopSec"] == "300"
    workers = {name: one for name, one in services(compose).items() if name.startswith("worker")}
    assert {name: one["stop_grace_period"] for name, one in workers.items()} == {"worker-1": "5m", "worker-2": "5m"}
    assert pods(manifest)["liteq-worker"]["terminationGracePeriodSeconds"] == 300


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the manifest as it is applied")
@pytest.mark.parametrize("file", [FILE[1], SERVER[1]])
def test_kubectl_reads_the_manifest(tmp_path, file):
    shutil.copy(DEPLOY / "kubernetes" / file, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{file}]\n")
    said = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    kinds = re.findall("^kind: (.*)$", said.stdout, re.MULTILINE)
    assert sorted(kinds) == sorted(one["kind"] for one in documents(file))


# -- and runs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "var").mkdir()
    return tmp_path


def surroundings(folder: Path, found: dict[str, str]) -> dict[str, str]:
    """The environment that the files give a process, with the queue in `folder`."""
    moved = {name: value.replace(FOLDER, str(folder / "var")) for name, value in found.items()}
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), **moved}


def in_image(folder: Path) -> dict[str, str]:
    """The environment of the image."""
    return surroundings(folder, dict(pair.split("=", 1) for pair in dockerfile()["ENV"].split()))


def liteq(folder: Path, *words: str, within: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*within, sys.executable, "-m", "liteq", *words]
    return subprocess.run(command, cwd=folder, env=in_image(folder), capture_output=True, text=True)


def probe(folder: Path, name: str, within: Sequence[str] = ()) -> int:
    """The exit code of a probe of the worker's pod, which `within` puts into a container."""
    (worker,) = pods()["liteq-worker"]["containers"]
    return liteq(folder, *worker[name]["exec"]["command"][1:], within=within).returncode


@pytest.mark.parametrize("name", ["liteq-worker@", "liteq-beat"])
def test_a_unit_is_ready_in_its_time_and_ends_well(folder, name):
    unit = DEPLOY / "systemd" / f"{name}.service"
    service = section(unit)
    assert service["Type"] == "notify"
    with Manager(folder, watchdog_s=float(service["WatchdogSec"])) as manager:
        environ = {**surroundings(folder, environment()), **manager.env}
        command = [sys.executable, "-m", "liteq", *command_of(unit)[1:]]
        process = subprocess.Popen(command, cwd=folder, env=environ)
        try:
            manager.wait("READY=1", within_s=min(60.0, float(service.get("TimeoutStartSec", "90"))))
            assert (folder / "var" / "queue.db").exists()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.skipif(not namespaces_are_there(), reason="unshare makes the PID namespace: needs its rights")
def test_the_container_s_first_process_is_a_worker_that_its_probes_see(folder):
    """The image's entry point and command, in its environment, as PID 1; then it is stopped."""
    words = json.loads(dockerfile()["ENTRYPOINT"]) + json.loads(dockerfile()["CMD"])
    container = subprocess.Popen([*NAMESPACE, sys.executable, "-m", *words], cwd=folder, env=in_image(folder))
    try:
        within = ["nsenter", "--target", str(first_of(container)), "--pid", "--mount"]
        wait_for(lambda: probe(folder, "startupProbe", within) == 0, within_s=60)
        assert probe(folder, "readinessProbe", within) == probe(folder, "livenessProbe", within) == 0
        called = liteq(folder, "-A", "shop", "call", "shop.add", "--args", "[1, 2]", "--wait")
        assert called.stdout.split()[-1] == "3"
        os.kill(first_of(container), signal.SIGTERM)
        assert container.wait(timeout=60) == 0
    finally:
        container.kill()
        container.wait()


def test_the_procfile_s_worker_runs_by_a_shell(folder):
    """As foreman and its like start it, in a process group that gets the signal as a whole."""
    bin_ = folder / "bin"
    bin_.mkdir()
    (bin_ / "liteq").write_text(f'#!/bin/sh\nexec {sys.executable} -m liteq "$@"\n')
    (bin_ / "liteq").chmod(0o755)
    environ = surroundings(folder, environment())
    environ["PATH"] = f"{bin_}:{environ['PATH']}"
    command = ["sh", "-c", f"exec {procfile()['worker']}"]
    worker = subprocess.Popen(command, cwd=folder, env=environ, start_new_session=True)
    try:
        wait_for(lambda: probe(folder, "readinessProbe") == 0, within_s=60)
        os.killpg(worker.pid, signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    finally:
        worker.kill()
        worker.wait()
