"""The door of the standalone dashboard: a link that is good once, tokens, a proxy's header; then a cookie."""

from __future__ import annotations

import ipaddress
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from liteq.clock import Clock
from liteq.exceptions import ImproperlyConfigured
from liteq_dashboard.access import Viewer
from liteq_dashboard.guard.pace import Pace
from liteq_dashboard.guard.tokens import Tokens
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import cookies, cookies_of, html, problem

__all__ = ["Door", "Proxy"]

LINK_S = 60.0
SESSION_S = 12 * 3600.0
WRONG_A_MINUTE = 10
MOST_SESSIONS = 1_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that says in `header` who asks, where it comes from one of `networks`; `rights` of those it names."""

    header: str
    networks: tuple[Network, ...]
    rights: tuple[str, ...] = ("viewer",)

    @classmethod
    def of(cls, header: str, networks: Iterable[str], rights: Iterable[str]) -> Proxy:
        """Make one of texts. Raises ImproperlyConfigured for what is no network and no right."""
        try:
            found = tuple(ipaddress.ip_network(one) for one in networks)
        except ValueError as exc:
            raise ImproperlyConfigured(f"a proxy's network is written as 127.0.0.1/32 or 10.0.0.0/8: {exc}") from None
        try:
            Viewer(header, rights := tuple(rights))
        except ValueError as exc:
            raise ImproperlyConfigured(str(exc)) from None
        return cls(header.lower(), found, rights)

    def trusts(self, address: str | None) -> bool:
        """Whether `address` is the proxy's."""
        try:
            found = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        return any(found in network for network in self.networks)


@dataclass
class Door:
    """Knows who comes. `root` is the path of all that it guards; `cookie` the name of its cookie."""

    clock: Clock
    tokens: Tokens = field(default_factory=Tokens)
    proxy: Proxy | None = None
    root: str = ""
    cookie: str = "liteq_session"

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[Viewer, float]] = {}
        self._sessions: dict[str, tuple[Viewer, float]] = {}
        self._wrong = Pace(WRONG_A_MINUTE, self.clock, 60.0)
        self.routes = (
            Route("GET", "login", "", self.ask),
            Route("POST", "login", "", self.log_in),
            Route("GET", "enter/{key}", "", self.enter),
            Route("POST", "leave", "", self.leave),
        )

    def key(self, viewer: Viewer) -> str:
        """A key for the path `enter/KEY`, by which `viewer` comes in once, within a minute."""
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._keys[key] = (viewer, self.clock.monotonic() + LINK_S)
        return key

    def viewer(self, headers: Mapping[str, str], address: str | None) -> Viewer | None:
        """The viewer whose request it is: by a bearer token, by the proxy's word, by the cookie."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._of_token(token.strip(), self._client(headers, address))
        if self.proxy is not None and self.proxy.trusts(address) and (name := headers.get(self.proxy.header, "")):
            return self.tokens.named(name) or Viewer(name, self.proxy.rights)
        return self._of_session(cookies_of(headers).get(self.cookie, ""))

    # -- its pages -----------------------------------------------------------------------------------------------------

    def ask(self, request: Request, _reader: Reader) -> Response:
        """The page that asks for a token."""
        return html(request, "login.html", wrong=False, has_tokens=bool(self.tokens))

    def log_in(self, request: Request, _reader: Reader) -> Response:
        """The token of the form: a cookie for it, or 403; 429 after ten wrong ones a minute from an address."""
        address = self._client(request.headers, request.address)
        if self._wrong.is_spent(address):
            return problem(429, "too many wrong tokens; wait a minute", {"retry-after": "60"})
        viewer = self._of_token(request.posted("token").strip(), address)
        if viewer is None:
            return html(request, "login.html", 403, wrong=True, has_tokens=bool(self.tokens))
        return self._welcome(request, viewer)

    def enter(self, request: Request, _reader: Reader) -> Response:
        """The link that is good once: a cookie for it."""
        with self._lock:
            viewer, until = self._keys.pop(request.path_args["key"], (None, 0.0))
        if viewer is None or self.clock.monotonic() > until:
            return problem(403, "this link was good once, for a minute; start the dashboard again for another")
        return self._welcome(request, viewer)

    def leave(self, request: Request, _reader: Reader) -> Response:
        """End the session."""
        with self._lock:
            self._sessions.pop(cookies(request).get(self.cookie, ""), None)
        return Response(303, {"location": f"{request.base}/login", "set-cookie": self._cookie(request, "", 0)})

    # -- sessions ------------------------------------------------------------------------------------------------------

    def _welcome(self, request: Request, viewer: Viewer) -> Response:
        session = secrets.token_urlsafe(32)
        with self._lock:
            now = self.clock.monotonic()
            self._sessions = {id_: entry for id_, entry in self._sessions.items() if entry[1] > now}
            while len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[session] = (viewer, now + SESSION_S)
        return Response(
            303, {"location": f"{request.base}/", "set-cookie": self._cookie(request, session, int(SESSION_S))}
        )

    def _cookie(self, request: Request, value: str, age_s: int) -> str:
        secure = "; Secure" if request.headers.get("x-forwarded-proto") == "https" else ""
        return f"{self.cookie}={value}; Max-Age={age_s}; Path={self.root}/; HttpOnly; SameSite=Strict{secure}"

    def _of_session(self, session: str) -> Viewer | None:
        with self._lock:
            viewer, until = self._sessions.get(session, (None, 0.0))
        return viewer if self.clock.monotonic() < until else None

    def _of_token(self, token: str, address: str) -> Viewer | None:
        """The viewer of `token`; a wrong one counts, and after ten within a minute none is looked at."""
        if self._wrong.is_spent(address):
            return None
        found = self.tokens.viewer(token)
        if found is None:
            self._wrong.allows(address)
        return found

    def _client(self, headers: Mapping[str, str], address: str | None) -> str:
        """The address that wrong tokens are counted by: behind the trusted proxy the one that it names last."""
        named = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return named if named and self.proxy is not None and self.proxy.trusts(address) else address or ""
