"""Celery's deep paths below liteq's own name: `liteq.contrib.abortable` is `celery.contrib.abortable` under the shim.

So an application whose import lines say `liteq` for `celery` starts, whichever modules of Celery's it names. Nothing
here is loaded before an import of `liteq.something` has failed.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

from liteq_celery.absent import is_explained, why_not
from liteq_celery.finder import AliasModule, ShimFinder, resolve, theirs
from liteq_celery.names import MODULES

__all__ = ["find"]


def find(fullname: str) -> ModuleSpec | None:
    """The module `fullname` below `liteq`, which liteq does not have, where Celery has one of its name.

    Raises ImportError, which says what stands in its place, for what Celery has and liteq has not. None for any other
    name: Python then says what it always says.
    """
    name_there = theirs(fullname)
    if name_there in MODULES:
        return ModuleSpec(fullname, ShimFinder(), is_package=True)
    above, _, name = name_there.rpartition(".")
    package = sys.modules.get(fullname.rpartition(".")[0])
    if above in MODULES and (path := MODULES[above].path_of(name)) is not None:
        # `from liteq.beat import ScheduleEntry`: Python looks for a module of that name, then at the package again.
        setattr(package, name, resolve(path))
        return None
    if is_explained(name_there) or isinstance(package, AliasModule):
        raise ImportError(why_not(name_there), name=fullname)
    return None
