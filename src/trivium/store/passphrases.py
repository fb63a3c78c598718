"""Secrets as they are stored: passphrases as argon2id, random tokens as their SHA-256."""

import hashlib
import secrets
from functools import cache
from typing import TYPE_CHECKING

from trivium.errors import UserError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST = 12
LONGEST = 1024


def hashed(token: str) -> str:
    """Of a token drawn at random, which nobody can guess: a fast hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def lock(passphrase: str) -> str:
    """Of what a person has chosen: argon2id, slow on purpose.

    Raises:
        UserError: it is too short or too long.
    """
    if not SHORTEST <= len(passphrase) <= LONGEST:
        wanted = f"{SHORTEST} to {LONGEST} characters"
        raise UserError(f"passphrase: expected {wanted}, got {len(passphrase)}; choose another")
    try:
        return _hasher().hash(passphrase)
    except UnicodeEncodeError:
        raise UserError("passphrase: expected Unicode text; choose another") from None


def fits(locked: str, passphrase: str) -> bool:
    """Whether this is the passphrase."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(locked, passphrase[:LONGEST])
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def is_dated(locked: str) -> bool:
    """Whether it was locked with weaker parameters than today's."""
    return _hasher().check_needs_rehash(locked)


@cache
def nobody() -> str:
    """A lock that no passphrase fits, to spend the same time on names that don't exist."""
    return _hasher().hash(secrets.token_urlsafe(32))


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()
