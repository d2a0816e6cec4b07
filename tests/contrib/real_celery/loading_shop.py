"""An app whose worker notes which modules it loads in another thread than its first."""

from __future__ import annotations

import os
import sys
import threading

from app_of_shop import app, note

__all__ = ["app"]

WORKER = os.getpid()


class Spy:
    @staticmethod
    def find_spec(name: str, *_args: object) -> None:
        if os.getpid() == WORKER and threading.current_thread() is not threading.main_thread():
            note(os.environ["SHOP_LOADED"], name)


sys.meta_path.insert(0, Spy)
