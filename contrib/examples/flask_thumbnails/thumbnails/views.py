"""The page, the upload, and what the page asks while tasks run."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template, request, send_from_directory, url_for

from thumbnails.queue import queue
from thumbnails.tasks import SIZES, make_thumbnails

__all__ = ["pages"]

pages = Blueprint("pages", __name__)
KINDS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp"})
MOST = 200  # ids in one question


@pages.get("/")
def index() -> str:
    return render_template("index.html", sizes=SIZES)


@pages.post("/pictures")
def upload() -> tuple[Response, int]:
    """Keep the pictures, and send a task for each: once this has answered, both are on the disk."""
    files = [file for file in request.files.getlist("pictures") if file.filename]
    refused = [str(file.filename) for file in files if Path(str(file.filename)).suffix.lower() not in KINDS]
    if refused or not files:
        return jsonify(error=f"no picture: {', '.join(refused)}" if refused else "choose a picture first"), 400
    sent = []
    for file in files:
        name = f"{uuid.uuid4().hex}{Path(str(file.filename)).suffix.lower()}"
        file.save(Path(current_app.instance_path) / "uploads" / name)
        sent.append({"id": make_thumbnails.delay(name).id, "name": file.filename})
    return jsonify(pictures=sent), 202


@pages.get("/pictures")
def progress() -> Response:
    """The state of each picture in `?id=...&id=...`."""
    return jsonify(pictures=[_shown(id_) for id_ in request.args.getlist("id")[:MOST]])


def _shown(id_: str) -> dict[str, Any]:
    result = queue.AsyncResult(id_)
    state, info = result.state, result.info
    if state == "SUCCESS":
        return {"id": id_, "state": state, "done": 1, "urls": [url_for("pages.thumbnail", name=n) for n in info]}
    if state in {"FAILURE", "REVOKED"}:
        return {"id": id_, "state": state, "done": 1, "error": str(info)}
    done = info["done"] / info["of"] if state == "PROGRESS" else 0
    return {"id": id_, "state": state, "done": done}


@pages.get("/thumbnails/<name>")
def thumbnail(name: str) -> Response:
    return send_from_directory(Path(current_app.instance_path) / "thumbnails", name, max_age=3600)
