"""A queue that the users of a group share: `file_mode`, and what each of them makes beside the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.storage.sqlite.disk.ownership import SIDE_FILES
from liteq.testing import drain

from .test_foreign_files import DEPLOY, GROUP, OWNER, STRANGER, as_root, as_user, reachable

__all__ = ["reachable"]

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's"),
]


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def app_on(path: Path, **settings: object) -> LiteQ:
    app = LiteQ("shared", broker=f"sqlite:///{path}", set_as_current=False)
    app.conf.update(settings)
    app.task(abs, name="shared.abs")
    return app


def modes(folder: Path) -> set[str]:
    return {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}


def sent_and_run(path: Path, **settings: object) -> None:
    with app_on(path, **settings) as app:
        result = app.tasks["shared.abs"].delay(-1)
        assert drain(app) == 1
        assert result.get(timeout=60) == 1
        assert len(list(path.parent.iterdir())) >= len(SIDE_FILES)  # while it is open, its log is there


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("setting", "mode"), [({}, "0o600"), ({"file_mode": "660"}, "0o660")])
def test_the_setting_says_who_may_use_the_files_and_the_umask_does_not(
    tmp_path: Path, setting: dict[str, str], mode: str
) -> None:
    folder = tmp_path / "queue"
    folder.mkdir()
    with app_on(folder / "queue.db", **setting) as app:
        app.tasks["shared.abs"].delay(-1)
        assert drain(app) == 1
        assert modes(folder) == {mode}


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    sent_and_run(tmp_path / "queue.db")
    sent_and_run(tmp_path / "queue.db", file_mode="660")
    assert (tmp_path / "queue.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", ["666", "640", "0600", 0o660])
def test_no_other_mode_is_taken(tmp_path: Path, value: object) -> None:
    """Readers alone cannot use a queue, and a file that all may write gives everybody the rights of the worker."""
    with pytest.raises(ImproperlyConfigured, match=r"file_mode.*'600' or '660'"):
        _ = app_on(tmp_path / "queue.db", file_mode=value).storage


@as_root
def test_two_users_of_a_group_share_a_queue_and_a_third_does_not(reachable: Path) -> None:
    folder = reachable / "shared"
    folder.mkdir()
    os.chown(folder, OWNER, GROUP)
    folder.chmod(0o2770)

    def works() -> None:
        os.chdir(reachable)
        sent_and_run(folder / "queue.db", file_mode="660")

    for uid in (OWNER, DEPLOY, OWNER):
        assert as_user(uid, GROUP, works) == "", f"uid {uid}"
    assert modes(folder) == {"0o660"}
    assert {file.stat().st_gid for file in folder.iterdir()} == {GROUP}
    assert "Storage" in as_user(STRANGER, STRANGER, works)


@as_root
def test_without_the_setting_the_second_user_is_told_what_is_wrong(reachable: Path) -> None:
    folder = reachable / "private"
    folder.mkdir()
    os.chown(folder, OWNER, GROUP)
    folder.chmod(0o2770)

    def works() -> None:
        os.chdir(reachable)
        sent_and_run(folder / "queue.db")

    assert as_user(OWNER, GROUP, works) == ""
    assert "change its owner or mode" in as_user(DEPLOY, GROUP, works)
