"""Values as bytes: arguments and results as tagged JSON (`codec`) or in an envelope (`content`), exceptions as data
(`errors`), whole batches (`batch`).
"""

from liteq.serialization.codec import MAX_NESTING, decode, encode
from liteq.serialization.content import Content, as_json, kind_of
from liteq.serialization.errors import ErrorDoc, decode_error, encode_error, loaded_class, rebuild
from liteq.serialization.serializers import register, unregister
from liteq.serialization.tags import register_type

__all__ = [
    "MAX_NESTING",
    "Content",
    "ErrorDoc",
    "as_json",
    "decode",
    "decode_error",
    "encode",
    "encode_error",
    "kind_of",
    "loaded_class",
    "rebuild",
    "register",
    "register_type",
    "unregister",
]
