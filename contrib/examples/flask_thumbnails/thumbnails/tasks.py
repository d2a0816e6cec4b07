"""The task of the worker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from flask import current_app
from PIL import Image, ImageOps, UnidentifiedImageError

from thumbnails.queue import queue

__all__ = ["SIZES", "NoPicture", "make_thumbnails"]

SIZES = (64, 160, 320)


class NoPicture(ValueError):
    """Raised when an upload is no picture that Pillow can read."""


@queue.task(bind=True, throws=(NoPicture,))
def make_thumbnails(self: Any, name: str) -> list[str]:
    """The file names of the thumbnails of the upload `name`, one for each of SIZES.

    It may run twice, when its process dies: it writes the same files again, each by a rename, so that nobody ever sees
    half a picture.
    """
    folder = Path(current_app.instance_path)
    made = []
    try:
        with Image.open(folder / "uploads" / name) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError):
        raise NoPicture("this is no picture, or a damaged one") from None
    for number, size in enumerate(SIZES):
        self.update_state(state="PROGRESS", meta={"done": number, "of": len(SIZES)})
        time.sleep(current_app.config["PAUSE_S"])
        thumbnail = upright.copy()
        thumbnail.thumbnail((size, size))
        made.append(f"{Path(name).stem}-{size}.jpg")
        unfinished = folder / "thumbnails" / f".{made[-1]}.{os.getpid()}"
        thumbnail.save(unfinished, "JPEG", quality=85)
        unfinished.replace(folder / "thumbnails" / made[-1])
    return made
