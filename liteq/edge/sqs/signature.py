"""Signature version 4: whether a request was signed with a key's secret, a short while ago, as it is.

Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote

from liteq.clock import Clock
from liteq.edge.http import Request
from liteq.edge.keys import Key, Keys
from liteq.edge.sqs.errors import Refused
from liteq.utils.records import NamedTuple

__all__ = ["Signed", "Verifier"]

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SLACK_S: Final = 300.0  # that a request's date may be off
ALIKE_S: Final = 5.0  # within which calls of one signature come: they are signed in one second, and are on their way
SEEN_MOST: Final = 100_000
HEAD: Final = re.compile(
    ALGORITHM
    + r"\s+Credential=(?P<key>[^/,\s]{1,256})/(?P<date>\d{8})/(?P<region>[\w-]{1,64})/(?P<service>[\w-]{1,64})"
    r"/aws4_request,\s*SignedHeaders=(?P<signed>[\w;-]{1,2048}),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
NEEDED: Final = frozenset({"host", "x-amz-date"})


class Signed(NamedTuple):
    """A request that is as its key has signed it. `once`: one text for one call of its program.

    The date has whole seconds, so two calls alike in one second have one signature. SDKs tell them apart by the header
    amz-sdk-invocation-id, which some sign, and others add to what is signed: `beside`, which anybody may change; "" for
    none.
    """

    key: Key
    once: str
    signature: str
    beside: str


class Seen(NamedTuple):
    """A signature that has come: when first (monotonic), and with which ids beside it."""

    since: float
    beside: set[str]


class Verifier:
    """Checks signatures against `keys`, and remembers those of the last minutes."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def check(self, request: Request, body: bytes) -> Signed:
        """The key of the request. Raises Refused, with the status 403, for any that is not signed as it should be."""
        found = HEAD.fullmatch(request.headers.get("authorization", "").strip())
        if found is None:
            raise Refused("MissingAuthenticationToken", "the request is not signed by signature version 4", 403)
        date = request.headers.get("x-amz-date", "")
        self._check_date(date, found["date"])
        key = self._keys.find(found["key"])
        signed = found["signed"].split(";")
        if found["service"] != "sqs" or not set(signed) >= NEEDED or signed != sorted(set(signed)):
            raise Refused("IncompleteSignature", "the signature is for sqs, and over host and x-amz-date at least", 403)
        # Of an unknown key the signature is made too: the time says nothing.
        secret = key.secret if key is not None and key.secret is not None else "-"
        wanted = _signature(request, body, found, signed, secret)
        if key is None or key.secret is None:
            raise Refused("InvalidClientTokenId", "this access key is not known here", 403)
        if not hmac.compare_digest(wanted, found["signature"]):
            raise Refused("SignatureDoesNotMatch", "the signature is another: is it the right secret?", 403)
        call = request.headers.get("amz-sdk-invocation-id", "")
        once = f"{call} {hashlib.sha256(body).hexdigest()}" if call else found["signature"]
        beside = "" if "amz-sdk-invocation-id" in signed else call
        return Signed(key, f"{found['key']} {once}", found["signature"], beside)

    def admit(self, signed: Signed, *, repeatable: bool) -> None:
        """Raise Refused where this very request came before, as far as this process knows, unless it is `repeatable`.

        Also where it came before with another id beside its signature, unless that was just now.
        """
        now = self._clock.monotonic()
        with self._lock:
            while self._seen and (len(self._seen) > SEEN_MOST or self._oldest() < now - 2 * SLACK_S):
                self._seen.popitem(last=False)
            seen = self._seen.setdefault(signed.signature, Seen(now, set()))
            if signed.beside in seen.beside:
                is_let = repeatable
            else:
                is_let = not seen.beside or (signed.beside != "" and now - seen.since < ALIKE_S)
            if not is_let:
                raise Refused("AccessDenied", "this very request was here before: sign it anew", 403)
            seen.beside.add(signed.beside)

    def _oldest(self) -> float:
        return next(iter(self._seen.values())).since

    def _check_date(self, date: str, day: str) -> None:
        try:
            when = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise Refused("IncompleteSignature", "x-amz-date is as 20301231T235959Z", 403) from None
        off_s = abs(when.timestamp() - self._clock.now_ms() / 1000)
        if off_s > SLACK_S or not date.startswith(day):
            raise Refused("RequestExpired", f"the request's date is off by {off_s:.0f} s: are the clocks right?", 403)


def _signature(request: Request, body: bytes, found: re.Match[str], signed: list[str], secret: str) -> str:
    scope = f"{found['date']}/{found['region']}/{found['service']}/aws4_request"
    canonical = "\n".join(
        [
            request.method,
            _path(request.environ.get("RAW_PATH") or quote(request.below + request.path, safe="/-_.~")),
            _query(request.environ.get("QUERY_STRING", "")),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    text = "\n".join(
        [ALGORITHM, request.headers.get("x-amz-date", ""), scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _path(raw: str) -> str:
    return quote(raw, safe="/-_.~") or "/"  # of every service but S3: what is encoded is so once more


def _query(raw: str) -> str:
    pairs = parse_qsl(raw, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))
