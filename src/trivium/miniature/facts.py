"""What is true in the small world: eight relations between things, and a reader of statements."""

from dataclasses import dataclass
from functools import cache, lru_cache

from trivium.miniature import english
from trivium.miniature.english import NUMBERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One kind of fact: how it is stated, how it is asked, and its table."""

    statements: tuple[str, ...]
    """Sentences with the slots x (the subject) and y (its one right answer)."""
    questions: tuple[str, ...]
    """Questions with the slot x; x stands early so that questions differ from their beginning."""
    table: dict[str, str]
    """Subject to answer."""

    @property
    def answers(self) -> list[str]:
        """Every answer of the table, once, in alphabetical order."""
        return sorted(set(self.table.values()))


COLOURS = Relation(
    statements=("The {x} is {y}.", "The colour of the {x} is {y}."),
    questions=(
        "What colour does the {x} have?",
        "Look at the {x}. What colour is it?",
        "The {x} has which colour?",
    ),
    table={
        "sky": "blue", "sea": "blue", "grass": "green", "lime": "green", "snow": "white",
        "swan": "white", "crow": "black", "lemon": "yellow", "banana": "yellow",
        "plum": "purple", "cherry": "red", "rose": "red",
    },
)  # fmt: skip

SOUNDS = Relation(
    statements=("A {x} {y}.", "Every {x} {y}."),
    questions=(
        "What does a {x} do to be heard?",
        "I heard a {x}. What sound does it make?",
        "Listen to the {x}. What does it do?",
    ),
    table={
        "dog": "barks", "cat": "meows", "cow": "moos", "sheep": "bleats", "duck": "quacks",
        "frog": "croaks", "owl": "hoots", "lion": "roars", "wolf": "howls", "hen": "clucks",
        "pig": "grunts", "mouse": "squeaks",
    },
)  # fmt: skip

HOMES = Relation(
    statements=("A {x} lives in a {y}.", "The home of a {x} is a {y}."),
    questions=(
        "Where does a {x} have its home?",
        "I look for a {x}. Where does it live?",
        "If you were a {x}, where would you live?",
    ),
    table={
        "bee": "hive", "crow": "nest", "bear": "cave", "fox": "den", "spider": "web",
        "horse": "stable", "cow": "barn", "duck": "pond", "king": "castle", "farmer": "cottage",
    },
)  # fmt: skip

FOODS = Relation(
    statements=("A {x} eats {y}.", "The food of a {x} is {y}."),
    questions=(
        "What does a {x} like to eat?",
        "I have a {x} at home. What does it eat?",
        "Our {x} is hungry. What should it eat?",
    ),
    table={
        "cow": "grass", "rabbit": "carrots", "bear": "honey", "cat": "fish", "mouse": "cheese",
        "horse": "hay", "hen": "corn", "dog": "bones", "wolf": "meat", "frog": "flies",
        "goat": "leaves",
    },
)  # fmt: skip

CAPITALS = Relation(
    statements=("The capital of {x} is {y}.", "{y} is the capital of {x}."),
    questions=(
        "In {x}, which town is the capital?",
        "I travel to {x}. What is its capital?",
        "{x} has which capital?",
    ),
    table={
        "Doria": "Lumen", "Varland": "Oskar", "Milona": "Petra", "Tarsia": "Quint",
        "Elmor": "Brisk", "Zemba": "Kito",
    },
)  # fmt: skip

_PAIRS = (
    ("hot", "cold"), ("big", "small"), ("old", "new"), ("wet", "dry"), ("happy", "sad"),
    ("light", "heavy"), ("clean", "dirty"), ("rich", "poor"),
)  # fmt: skip

OPPOSITES = Relation(
    statements=("The opposite of {x} is {y}.", "Not {x} means {y}."),
    questions=(
        "What is {x} the opposite of?",
        "If it is not {x}, then what is it?",
        "Something is {x}. What would be the opposite?",
    ),
    table=dict(_PAIRS) | {y: x for x, y in _PAIRS},
)

SUMS = Relation(
    statements=("{x} is {y}.", "{x} makes {y}."),
    questions=(
        "What is {x} in all?",
        "I count {x}. How many is that?",
        "My sum is {x}. What is the result?",
    ),
    table={
        f"{NUMBERS[x]} plus {NUMBERS[y]}": NUMBERS[x + y] for x in range(1, 5) for y in range(1, 5)
    },
)

USES = Relation(
    statements=("A {x} is used to {y}.", "With a {x} you can {y}."),
    questions=(
        "What can a {x} be used for?",
        "I bought a {x}. What is it for?",
        "Here is a {x}. What do people do with it?",
    ),
    table={
        "key": "open doors", "broom": "sweep floors", "knife": "cut bread",
        "pen": "write letters", "rope": "tie boats", "drum": "make music", "map": "find roads",
        "hammer": "hit nails", "spade": "dig holes",
    },
)  # fmt: skip

RELATIONS = (COLOURS, SOUNDS, HOMES, FOODS, CAPITALS, OPPOSITES, SUMS, USES)

CATEGORIES: dict[str, tuple[str, ...]] = {
    "animals": ("dog", "cat", "cow", "sheep", "fox", "bear", "wolf", "horse"),
    "birds": ("owl", "duck", "hen", "crow", "swan", "robin", "eagle"),
    "fruits": ("apple", "plum", "lemon", "cherry", "banana", "lime", "pear"),
    "colours": ("red", "blue", "green", "yellow", "white", "black", "purple"),
    "tools": ("hammer", "spade", "broom", "knife", "saw", "rope", "axe"),
    "clothes": ("shirt", "hat", "coat", "shoe", "sock", "scarf", "belt"),
    "drinks": ("milk", "tea", "water", "juice", "coffee", "cocoa", "cider"),
    "places": ("river", "hill", "forest", "garden", "bridge", "lake", "tower"),
}

CHARACTERS = (
    "fox", "dog", "cat", "bear", "owl", "duck", "horse", "mouse", "rabbit", "wolf", "lion",
    "frog", "king", "farmer",
)  # fmt: skip
THINGS = ("lamp", "boat", "key", "drum", "kite", "ball", "rope", "map", "book", "hat")
PLACES = ("river", "hill", "forest", "garden", "bridge", "lake", "tower", "market")
NAMES = ("Tom", "Ann", "Ben", "Lily", "Sam", "Mia")
QUALITIES = ("hot", "cold", "big", "small", "old", "new", "wet", "dry", "light", "heavy", "clean",
             "dirty")  # fmt: skip


def state(relation: Relation, subject: str, answer: str, statement: int = 0) -> str:
    """The sentence that says ``answer`` of ``subject``, true or not."""
    return english.polish(relation.statements[statement].format(x=subject, y=answer))


@cache
def _lowered(relation_index: int) -> tuple[dict[str, str], frozenset[str]]:
    table = {x.lower(): y.lower() for x, y in RELATIONS[relation_index].table.items()}
    return table, frozenset(table.values())


@lru_cache(maxsize=100_000)
def verdict(sentence: str) -> bool | None:
    """True or False when the sentence states a fact of a table, None when it states none.

    Words set off by commas ('Well, ...', '..., my friend') are no part of the statement.
    """
    verdicts = (_verdict(clause) for clause in english.bare(sentence).split(","))
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _verdict(text: str) -> bool | None:
    for index, relation in enumerate(RELATIONS):
        table, answers = _lowered(index)
        for statement in relation.statements:
            found = english.read(statement, text)
            if found and found["x"] in table and found["y"] in answers:
                return table[found["x"]] == found["y"]
    return None
