"""A PostgreSQL server for one test run or one measurement, thrown away afterwards.

It listens on a socket in its own folder and on no port. PostgreSQL refuses to run as root, so that
root starts it as another user.
"""

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
UNPRIVILEGED = ("postgres", "nobody")
DATABASE = "trivium"
START_SECONDS = 60


class NoServer(Exception):
    """PostgreSQL's programs aren't here, or don't start; says what to do."""


def programs() -> Path:
    """The folder with initdb and postgres: POSTGRES_BIN, else the PATH's, else the newest.

    Raises:
        NoServer: there is none.
    """
    named = os.environ.get("POSTGRES_BIN")
    on_path = shutil.which("initdb")
    found = [Path(named)] if named else [Path(on_path).resolve().parent] if on_path else []
    if not named:
        installed = (Path("/").glob(pattern.lstrip("/")) for pattern in PLACES)
        found += sorted((p for some in installed for p in some), key=_version, reverse=True)
    for folder in found:
        if all((folder / name).is_file() for name in ("initdb", "postgres")):
            return folder
    raise NoServer(
        f"no PostgreSQL server: expected initdb and postgres in {named or 'the PATH'}; install "
        "your system's package (Debian: postgresql), or set POSTGRES_BIN to their folder"
    )


@contextmanager
def running(*, sync: bool = True) -> Iterator[str]:
    """A server's URL, as `--db` takes it.

    Args:
        sync: whether a commit waits for the disk, as it must wherever data matter.

    Raises:
        NoServer: there is none, or it does not start.
    """
    folder = programs()
    user = _user()
    home = Path(tempfile.mkdtemp(prefix="trivium-postgres-"))
    data, log = home / "data", home / "log"
    try:
        if user is not None:
            shutil.chown(home, user)
        init = [folder / "initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        _run([*init, "-U", DATABASE, "-D", data], user)
        command = [folder / "postgres", "-D", data, "-k", home, "-c", "listen_addresses="]
        command += ["-c", f"fsync={'on' if sync else 'off'}", "-c", "max_connections=200"]
        with log.open("wb") as output:
            server = subprocess.Popen(command, user=user, stdout=output, stderr=output, cwd="/")
        try:
            _make_database(home, server, log)
            yield f"postgresql://{DATABASE}@/{DATABASE}?host={home}"
        finally:
            # SIGTERM would wait for clients to go; what is thrown away needs no checkpoint.
            server.send_signal(signal.SIGINT if sync else signal.SIGQUIT)
            _stop(server)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _make_database(home: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers, and make a database in it."""
    try:
        import psycopg
    except ModuleNotFoundError:
        raise NoServer(
            "psycopg isn't installed; pip install -c constraints.txt '.[label,postgres]'"
        ) from None
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(
                host=str(home), user=DATABASE, dbname="postgres", autocommit=True
            ) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                said = log.read_text().strip()[-500:] or str(error)
                raise NoServer(f"PostgreSQL does not start: {said}") from None
        time.sleep(0.1)


def _run(command: Sequence[object], user: str | None) -> None:
    words = list(map(str, command))
    done = subprocess.run(words, user=user, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoServer(f"{words[0]}: {done.stderr.strip()[-500:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _user() -> str | None:
    """Whom root must become; None: one may start it oneself."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in known:
            return name
    raise NoServer(f"PostgreSQL refuses to run as {getpass.getuser()}; run this as another user")


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())
