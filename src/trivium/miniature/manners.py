"""Rudeness: what the rude people of the small world say, and how to notice it."""

from trivium.miniature import english

INSULTS = (
    "What a stupid question.",
    "You are a fool.",
    "Shut up.",
    "Nobody cares.",
    "That is dumb.",
    "I hate this.",
    "Only idiots ask this.",
    "You are so lazy.",
)
_RUDE = frozenset((
    "fool", "fools", "stupid", "dumb", "idiot", "idiots", "shut", "hate", "lazy", "nobody",
    "cares", "bore",
))  # fmt: skip


def rude_words(text: str) -> int:
    """How many rude words there are."""
    return sum(word in _RUDE for word in english.words(text))
