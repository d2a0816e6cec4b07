"""Compression by name, in both directions; reading never makes more than it was allowed to, whatever the data says."""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable
from typing import Any

from liteq.exceptions import ImproperlyConfigured, PayloadTooLarge, SecurityError, closest
from liteq.utils.records import NamedTuple

__all__ = ["compress", "compression", "decompress"]

_LZMA_MEMORY = 128 << 20  # bytes that a dictionary may take; preset 9 takes 65 MiB


class Compression(NamedTuple):
    """A method: `compress(data)`; `decompress(data, limit)` returns at most `limit` bytes, and whether that was all."""

    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], tuple[bytes, bool]]


def _inflate(data: bytes, limit: int) -> tuple[bytes, bool]:
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)  # a zlib or a gzip header
    plain = reader.decompress(data, limit)
    return plain, reader.eof


def _bounded(make: Callable[[], Any]) -> Callable[[bytes, int], tuple[bytes, bool]]:
    def decompress(data: bytes, limit: int) -> tuple[bytes, bool]:
        reader = make()
        return reader.decompress(data, limit), reader.eof

    return decompress


def _bz2() -> Compression:
    bz2 = importlib.import_module("bz2")
    return Compression("bzip2", bz2.compress, _bounded(bz2.BZ2Decompressor))


def _lzma() -> Compression:
    lzma = importlib.import_module("lzma")
    return Compression("lzma", lzma.compress, _bounded(lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)))


def _zstd() -> Compression:
    zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    return Compression("zstd", zstd.compress, _bounded(zstd.ZstdDecompressor))


def _gzip() -> Compression:
    return Compression("gzip", zlib.compress, _inflate)


# Names and content types are kombu's; what each stands for is imported when it is first used.
_MAKERS: dict[str, Callable[[], Compression]] = {
    **dict.fromkeys(("gzip", "zlib", "application/x-gzip"), _gzip),
    **dict.fromkeys(("bzip2", "bzip", "bz2", "application/x-bz2"), _bz2),
    **dict.fromkeys(("lzma", "xz", "application/x-lzma"), _lzma),
    **dict.fromkeys(("zstd", "zstandard", "application/zstd"), _zstd),
}
_made: dict[str, Compression] = {}


def compression(name: str) -> Compression:
    """The method called `name`. Raises ImproperlyConfigured when there is none, or its library is not installed."""
    if (found := _made.get(name)) is not None:
        return found
    make = _MAKERS.get(name)
    if make is None:
        raise ImproperlyConfigured(f"there is no compression {name!r} (nearest: {closest(name, _MAKERS)})")
    try:
        made = _made[name] = make()
    except ImportError as exc:
        backport = make is _zstd and sys.version_info < (3, 14)
        remedy = "pip install backports.zstd" if backport else "use a Python that was built with it"
        raise ImproperlyConfigured(f"the compression {name} is not available here ({exc}): {remedy}") from None
    return made


def compress(name: str, data: bytes) -> tuple[str, bytes]:
    """`data` compressed, and the name under which `decompress` knows the method."""
    method = compression(name)
    return method.name, method.compress(data)


def decompress(name: str, data: bytes, limit: int, *, what: str, setting: str) -> bytes:
    """Undo `compress`. Raises PayloadTooLarge beyond `limit` bytes, SecurityError for damaged data."""
    try:
        plain, whole = compression(name).decompress(data, limit + 1)
    except ImproperlyConfigured:
        raise
    except Exception as exc:  # noqa: BLE001 - each library has errors of its own
        raise SecurityError(f"{what}: its {name} data is damaged ({exc})") from None
    if len(plain) > limit:
        raise PayloadTooLarge(what, len(plain), limit, setting)
    if not whole:
        raise SecurityError(f"{what}: its {name} data ends too soon")
    return plain
