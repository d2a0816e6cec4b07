"""`-A` finds what Celery's `-A` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from liteq.cli.parts.find_app import find_app
from liteq.exceptions import ImproperlyConfigured

APP = 'from liteq import LiteQ\n{name} = LiteQ("{main}", broker="sqlite:///x.db")\n'


@pytest.fixture
def write(project):
    """Write a module of the project."""

    def write_file(path: str, text: str) -> None:
        file = project / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    return write_file


@pytest.mark.parametrize("attribute", ["app", "celery", "liteq", "anything"])
def test_in_a_module(write, attribute):
    write("m.py", APP.format(name=attribute, main="m"))
    assert find_app("m").main == "m"


@pytest.mark.parametrize("submodule", ["celery", "liteq"])
def test_in_a_package(write, submodule):
    write("p/__init__.py", "")
    write(f"p/{submodule}.py", APP.format(name="app", main="p"))
    assert find_app("p").main == "p"


def test_in_a_package_that_exports_it(write):
    write("p/__init__.py", "from p.celery import app as celery_app\n")
    write("p/celery.py", APP.format(name="app", main="p"))
    assert find_app("p").main == find_app("p.celery").main == find_app("p.celery:app").main == "p"


def test_a_folder_of_others_beside_it_does_not_hide_what_is_wrong(write, monkeypatch):
    write("shop.py", "")
    write("closed/shop.py", "")
    real = Path.is_file

    def is_file(path):
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    with pytest.raises(ImproperlyConfigured, match="did you mean -A shop"):
        find_app("shpo")


def test_by_attribute(write):
    write("m.py", APP.format(name="one", main="1") + APP.format(name="two", main="2"))
    assert (find_app("m:one").main, find_app("m.two").main) == ("1", "2")


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("", "nowhere", "there is no module 'nowhere'"),
        ("", "m", "there is no app in the module 'm'"),
        ("app = 3", "m:app", "'app' in the module 'm' is a int, not an app"),
        (APP.format(name="one", main="1") + APP.format(name="two", main="2"), "m", "choose one: -A m:one or -A m:two"),
        ("import nothing_such", "m", "importing 'm' raised ModuleNotFoundError"),
        ("1 / 0", "m", "importing 'm' raised ZeroDivisionError"),
    ],
)
def test_what_is_wrong_is_said(write, text, name, says):
    write("m.py", text)
    with pytest.raises(ImproperlyConfigured, match=r"^[^\n]*$") as caught:
        find_app(name)
    assert says in str(caught.value)
