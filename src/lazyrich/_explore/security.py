"""Who may ask the server, and what a page from it may load."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.responses import PlainTextResponse

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def new_token() -> str:
    """256 random bits for the address."""
    return secrets.token_urlsafe(32)


def headers(port: int) -> dict[str, str]:
    """The headers of every answer.

    Styles are free because Plotly writes a style element; they can load only what the other rules
    allow. Images are in the page; Plotly saves a figure by a `blob:`.
    """
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "connect-src": f"'self' ws://127.0.0.1:{port} ws://localhost:{port}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


class Guard:
    """Passes requests on that come to our address, with the token, from our page.

    - **Takes** `app`, which answers them; `token`, the first part of every path; `port`.

    A page of another site can make a browser send requests here, and by a name that resolves to
    this machine even read the answers. So `Host` must be ours, and `Origin` too, where there is
    one; sockets have one always. All else is answered with a sentence and the status 403.
    """

    def __init__(self, app: _App, token: str, port: int):
        self._app, self._token = app, token.encode()
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}
        self._headers = headers(port)
        self._raw = [(key.encode(), value.encode()) for key, value in self._headers.items()]

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if problem := self._problem(scope):
            refused = PlainTextResponse(f"{problem}\n", 403, headers=self._headers)
            if scope["type"] == "websocket":
                # The server adds these two itself; old versions of it would send them twice.
                del refused.headers["content-length"], refused.headers["content-type"]
            await refused(scope, receive, send)
            return

        async def with_headers(message: _Message) -> None:
            if message["type"] in (
                "http.response.start", "websocket.accept", "websocket.http.response.start",
            ):  # fmt: skip
                given = {key for key, _ in self._raw}
                kept = [pair for pair in message.get("headers", []) if pair[0] not in given]
                message = {**message, "headers": kept + self._raw}
            await send(message)

        await self._app(scope, receive, with_headers)

    def _problem(self, scope: _Scope) -> str | None:
        hosts = _values(scope["headers"], b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "This address is not the one that lazyrich explore printed."
        origins = _values(scope["headers"], b"origin")
        is_ours = all(origin in self._origins for origin in origins)
        if not is_ours or (scope["type"] == "websocket" and len(origins) != 1):
            return "Pages of other sites may not use the explorer."
        first = scope["raw_path"].split(b"/")[1:2]
        if not first or not secrets.compare_digest(first[0], self._token):
            return "The address lacks the token: open the one that lazyrich explore printed."
        return None


def _values(pairs: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in pairs if key.lower() == name]
