"""The outermost layer: what is refused before any page sees it, and the headers of every answer.

Plain ASGI around the application, because it must also hold for errors and for static files.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from trivium.labels.sheet import MOST_TEXT

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 1_048_576
"""Longest body that is taken; a label is a few kilobytes."""
MOST_FORM_BYTES = 12 * MOST_TEXT + 65_536
"""Longest form of a task. In a form a character takes three bytes for each of UTF-8, of which there
are four at most; what else is in the form takes less than the rest."""
DRAINED_BYTES = 16 * MOST_BYTES
DRAINED_SECONDS = 1.0
SAFE = {"GET", "HEAD", "OPTIONS"}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def shell(app: App, *, any_host: bool) -> App:
    """Wrap an application.

    Args:
        app: the application.
        any_host: whether it answers to names other than this computer's. A site that is open to
            this computer alone does not: a stranger's name that resolves to 127.0.0.1 would
            otherwise let the stranger's pages speak with it.
    """

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer = _with_headers(scope, send)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        # Read before refusing: a client that is still sending would see a broken connection only.
        most = _most_bytes(scope)
        body = await _read(receive, headers, most)
        if body is None:
            await _drain(receive)
            await _refuse(answer, 413, f"a body may have {most} bytes at most")
            return
        if refusal := _refusal(scope, headers, any_host=any_host):
            await _refuse(answer, *refusal)
            return
        await app(scope, _replay(body, receive), answer)

    return outer


def _refusal(scope: Scope, headers: dict[str, str], *, any_host: bool) -> tuple[int, str] | None:
    """Status and reason, if the request is refused on its face."""
    host = headers.get("host", "")
    if not any_host and _hostname(host) not in LOOPBACK:
        return 421, "this site answers to 127.0.0.1 and localhost only"
    if scope["method"] in SAFE:
        return None
    if crosses(headers, host):
        return 403, "the request comes from another site"
    return None


def crosses(headers: dict[str, str], host: str) -> bool:
    """Whether a browser says that another site caused the request.

    Fetch Metadata decides where it is sent, else Origin; a program sends neither, and has no
    cookie that could be abused.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    if (origin := headers.get("origin")) is not None:
        return _netloc(origin) != host
    return False


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as "http://[::1"
        return None


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as "[::1"
        return ""


def _most_bytes(scope: Scope) -> int:
    form = scope["method"] == "POST" and scope["path"].startswith("/tasks/")
    return MOST_FORM_BYTES if form else MOST_BYTES


async def _read(receive: Receive, headers: dict[str, str], most: int) -> bytes | None:
    """The whole body; None where it is too long, which is known without reading all of it."""
    announced = headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        return None
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        length += len(part)
        if length > most:
            return None
        parts.append(part)
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return b"".join(parts)


async def _drain(receive: Receive) -> None:
    """Throw away what still comes of a body that is too long, for a moment and up to a limit."""
    left = DRAINED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAINED_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once; afterwards whatever the server says."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _with_headers(scope: Scope, send: Send) -> Send:
    static = scope["path"].startswith("/static/")
    own = (*HEADERS, (b"cache-control", b"no-cache" if static else b"no-store"))

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            taken = {name.lower() for name, _ in message["headers"]}
            kept = [pair for pair in own if pair[0] not in taken]
            message = {**message, "headers": [*message["headers"], *kept]}
        await send(message)

    return answer


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
