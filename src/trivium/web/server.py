"""Open the store and serve the site until Ctrl-C."""

import socket
from pathlib import Path

import uvicorn

from trivium.errors import UserError
from trivium.store import people, reconcile
from trivium.store.database import close_store, open_store
from trivium.store.people import Role
from trivium.web.app import create_app
from trivium.web.shell import LOOPBACK

SHORTEST_SECRET = 16
LAST_PORT = 65535
ADMIN_DAYS = 1.0


def serve(*, db: str, journal: Path | None, host: str, port: int, secret: str | None) -> None:
    """Serve the site.

    Args:
        db: URL of the store.
        journal: the store's journal; None: beside the database.
        host: address to listen on.
        port: port to listen on; 0: any that is free.
        secret: needed, of 16 characters or more, for any host but this computer.

    Raises:
        UserError: the host is open to others and the secret is missing or short; the port is
            none, or taken; the store can't be opened.
    """
    check_secret(host, secret)
    listener = _listen(host, port)
    store = open_store(db, journal=journal, mend=False)
    try:
        mended = reconcile.reconcile(store)
        port = listener.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        print(f"labels in {store.url}; open {address}", flush=True)
        if mended != reconcile.Mended():
            print(f"{store.journal}: {mended}", flush=True)
        if not people.has_admin(store):
            invite = people.create_invite(store, role=Role.ADMIN, days=ADMIN_DAYS)
            print(
                f"first start; become the admin here: {address}/invite/{invite.token}", flush=True
            )
        config = uvicorn.Config(
            create_app(store, secret=secret or ""),
            log_level="warning",
            access_log=False,  # addresses of invitations are secrets
            server_header=False,
            timeout_keep_alive=75,  # a connection is not closed while its labeler thinks
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
        close_store(store)


def check_secret(host: str, secret: str | None) -> None:
    """Refuse to open the site to others without a secret.

    Raises:
        UserError: says what to do.
    """
    if host not in LOOPBACK and len(secret or "") < SHORTEST_SECRET:
        raise UserError(
            f"--host {host} opens the site to others: expected a secret of {SHORTEST_SECRET} "
            "characters or more; make one with `openssl rand -hex 32`, set TRIVIUM_SECRET to it"
        )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= LAST_PORT:
        raise UserError(f"--port {port}: expected a number from 0 to {LAST_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--host {host} --port {port}: {reason}; choose another --port") from None
    # Connections inherit it. asyncio sets it on sockets of its own making only, and without it an
    # answer's body waits 40 ms for the client to acknowledge its head (Nagle, delayed ACK).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
