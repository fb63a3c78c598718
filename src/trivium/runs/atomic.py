"""Files and folders that are there whole or not at all, whenever the power goes."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trivium.errors import UserError

# No space, over the quota, over the largest file allowed: all are mended by making room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CONFIG_NAME = "config.yaml"
RECIPE_NAME = "recipe.yaml"


def write_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` by way of a temporary file beside it; UTF-8.

    Raises:
        UserError: the disk is full. What was at ``path`` before is still there.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    with explain_full_disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync(path.parent)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, obj: object) -> None:
    """Put ``obj`` at ``path`` as readable JSON; NaN and infinity are a bug, hence a ValueError."""
    text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def replace_folder(tmp: Path, final: Path) -> None:
    """Flush all of ``tmp`` to the disk, then make it ``final``; both on one file system.

    A folder cannot be renamed over a full one, so an old ``final`` steps aside first.
    `recover` puts it back if the process dies in between.

    Raises:
        UserError: the disk is full. What was at ``final`` before is still there.
    """
    with explain_full_disk(final):
        for path in [*tmp.rglob("*"), tmp]:
            sync(path)
        aside = final.with_name(f".old-{final.name}")
        recover(final)
        if final.exists():
            final.rename(aside)
        tmp.rename(final)
        sync(final.parent)
        shutil.rmtree(aside, ignore_errors=True)


def recover(final: Path) -> None:
    """Finish or undo a `replace_folder` that was killed between its two renames."""
    aside = final.with_name(f".old-{final.name}")
    if not aside.exists():
        return
    if final.exists():
        shutil.rmtree(aside)
    else:
        aside.rename(final)


def sync(path: Path) -> None:
    """Make the kernel write a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn "no room" while writing ``path`` into a UserError; let everything else through."""
    try:
        yield
    except Exception as error:
        if (reason := _no_room(error)) is None:
            raise
        place = _nearest_existing(path)
        free = shutil.disk_usage(place).free
        raise UserError(
            f"{path}: no room to write it ({reason}; {size_words(free)} free on that disk); "
            f"nothing that was saved before is lost: make room, then {_how_to_go_on(path)}"
        ) from error


def _no_room(error: BaseException) -> str | None:
    """What the system said, if the disk was full; safetensors says it in words only."""
    if isinstance(error, OSError):
        number = error.errno
    else:
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found.group(1)) if found else None
    return os.strerror(number) if number in NO_ROOM else None


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in [path, *path.absolute().parents] if folder.exists())


def _how_to_go_on(path: Path) -> str:
    stages = [folder for folder in path.parents if (folder / CONFIG_NAME).exists()]
    if not stages:
        return "give the same command again"
    recipe = stages[0].parent
    return f"`trivium resume {recipe if (recipe / RECIPE_NAME).exists() else stages[0]}`"


def size_words(num_bytes: int) -> str:
    """Bytes in the largest unit that leaves a whole one."""
    size = float(num_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
