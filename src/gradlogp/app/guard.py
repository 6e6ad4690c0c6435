"""Who may speak to the studio, and how much at a time.

A page of any other site can make a browser send requests to this machine. So every request names a
host that is ours (else a rebound name would reach us); whatever changes something, and every
websocket, comes from a page of ours (`Origin`) and bears JSON, which no form can send; no body is
longer than its route takes; and bound beyond this machine all need the token. The answers forbid
the page to load anything from elsewhere.

References: OWASP cheat sheets on cross-site request forgery and on DNS rebinding; the
Content-Security-Policy, level 3 (W3C).
"""

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

ASGI = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
COOKIE = "gradlogp"
BODY = 256 << 10  # bytes
DIGITS = 20  # of a content-length
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (  # a report is one file: its styles and pictures are inside, and it has no scripts
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; sandbox"
    " allow-popups; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Refused(Exception):
    """A request that is not answered; the status says why to machines, the text to a person."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Rules:
    """hosts: names that a request may be addressed to. addresses: any literal address too, since
    only names can be rebound. token: what all must bear, where there is one. bodies: bytes for a
    path, where it is more than BODY.
    """

    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    addresses: bool = False
    token: str | None = None
    bodies: Mapping[str, int] = field(default_factory=dict)


class Guard:
    """The rules before everything else, and the headers upon every answer."""

    def __init__(self, app: ASGI, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        try:
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
            self._check(scope, headers)
            if scope["type"] == "http":
                if self._entering(scope):
                    return await self._enter(send)
                receive = await self._bounded(scope, headers, receive)
                send = _with_headers(send)
        except Refused as error:
            return await _refuse(scope, receive, send, error)
        await self.app(scope, receive, send)

    def _check(self, scope: dict[str, Any], headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not self._ours(host):
            raise Refused(400, f"this studio does not answer to the host {host[:60]!r}.")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes and not _same(headers.get("origin"), host):
            raise Refused(403, "this request did not come from the studio's own page.")
        if scope["type"] == "http" and changes:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise Refused(415, f"expected a body of application/json, got {kind[:60]!r}.")
        if self.rules.token and not (self._bears(headers) or self._entering(scope)):
            raise Refused(401, "this studio asks for its token: open the address that it printed.")

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.rules.hosts or (self.rules.addresses and _literal(name))

    def _bears(self, headers: Mapping[str, str]) -> bool:
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(headers.get("cookie", ""))
        except CookieError:
            return False
        given = [cookie[COOKIE].value] if COOKIE in cookie else []
        given.append(headers.get("authorization", "").removeprefix("Bearer "))
        return any(self._right(token) for token in given)

    def _right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), (self.rules.token or "").encode())

    def _entering(self, scope: dict[str, Any]) -> bool:
        """Whether this is the printed address, which bears the token once."""
        if not self.rules.token or scope["type"] != "http" or scope["path"] != "/":
            return False
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return any(self._right(token) for token in asked.get("token", []))

    async def _enter(self, send: Any) -> None:
        """Put the token into a cookie, out of the address and its history."""
        value = f"{COOKIE}={self.rules.token}; Path=/; HttpOnly; SameSite=Strict"
        await _answer(_with_headers(send), 303, b"", {"location": "/", "set-cookie": value})

    async def _bounded(
        self, scope: dict[str, Any], headers: Mapping[str, str], receive: Any
    ) -> Callable[[], Awaitable[Any]]:
        """The body, read to its end and no further than it may go."""
        most = self.rules.bodies.get(scope["path"], BODY)
        too_long = Refused(413, f"a request here has at most {most:,} bytes; send less.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > DIGITS:
            raise Refused(400, "content-length is no number.")
        if int(length) > most:
            raise too_long
        parts, size, more = [], 0, scope["method"] not in ("GET", "HEAD")
        while more:
            message = await receive()
            part = message.get("body", b"")
            size, more = size + len(part), message.get("more_body", False)
            if size > most:
                raise too_long
            parts.append(part)
        return _replayed(b"".join(parts), receive)


def _replayed(body: bytes, receive: Any) -> Callable[[], Awaitable[Any]]:
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _same(origin: str | None, host: str) -> bool:
    """Whether a page of `origin` is one that `host` served."""
    try:
        parts = urlsplit(origin or "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower() != ""


def _literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Any) -> Any:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def _answer(send: Any, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _refuse(scope: dict[str, Any], receive: Any, send: Any, error: Refused) -> None:
    if scope["type"] == "websocket":  # refused before it is accepted: the browser sees 403
        await receive()
        return await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
    body = json.dumps({"error": str(error)}).encode()
    await _answer(_with_headers(send), error.status, body, {"content-type": "application/json"})
