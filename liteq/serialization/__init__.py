"""What is stored as bytes: arguments and results as tagged JSON (`codec`), exceptions as data (`errors`)."""

from liteq.serialization.codec import MAX_NESTING, decode, encode
from liteq.serialization.errors import ErrorDoc, decode_error, encode_error, loaded_class, rebuild
from liteq.serialization.tags import register_type

__all__ = [
    "MAX_NESTING",
    "ErrorDoc",
    "decode",
    "decode_error",
    "encode",
    "encode_error",
    "loaded_class",
    "rebuild",
    "register_type",
]
