"""What is true in the small world: eight relations between things, and a reader of statements."""

from dataclasses import dataclass
from functools import cache

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
    one_word: bool = True
    """True where the answer makes sense as a single word."""

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
        "Is the {x} red, or what colour is it?",
    ),
    table={
        "sky": "blue", "sea": "blue", "grass": "green", "lime": "green", "frog": "green",
        "snow": "white", "milk": "white", "swan": "white", "coal": "black", "crow": "black",
        "sun": "yellow", "lemon": "yellow", "banana": "yellow", "carrot": "orange",
        "pumpkin": "orange", "plum": "purple", "grape": "purple", "cherry": "red",
        "tomato": "red", "rose": "red",
    },
)  # fmt: skip

SOUNDS = Relation(
    statements=("A {x} {y}.", "Every {x} {y}."),
    questions=(
        "What does a {x} do to be heard?",
        "I heard a {x}. What sound does it make?",
        "Listen to the {x}. What does it do?",
        "When a {x} calls, what does it do?",
    ),
    table={
        "dog": "barks", "cat": "meows", "cow": "moos", "sheep": "bleats", "duck": "quacks",
        "frog": "croaks", "owl": "hoots", "bee": "buzzes", "lion": "roars", "wolf": "howls",
        "hen": "clucks", "pig": "grunts", "horse": "neighs", "snake": "hisses",
        "mouse": "squeaks",
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
        "horse": "stable", "cow": "barn", "dog": "kennel", "duck": "pond", "king": "castle",
        "rabbit": "burrow", "farmer": "cottage", "sheep": "fold",
    },
)  # fmt: skip

FOODS = Relation(
    statements=("A {x} eats {y}.", "The food of a {x} is {y}."),
    questions=(
        "What does a {x} like to eat?",
        "I have a {x} at home. What does it eat?",
        "Our {x} is hungry. What should it eat?",
        "Feeding a {x}, what do I give it?",
    ),
    table={
        "cow": "grass", "rabbit": "carrots", "bear": "honey", "cat": "fish", "mouse": "cheese",
        "squirrel": "nuts", "horse": "hay", "monkey": "bananas", "hen": "corn", "dog": "bones",
        "wolf": "meat", "duck": "bread", "frog": "flies", "goat": "leaves",
    },
)  # fmt: skip

CAPITALS = Relation(
    statements=("The capital of {x} is {y}.", "{y} is the capital of {x}."),
    questions=(
        "In {x}, which town is the capital?",
        "I travel to {x}. What is its capital?",
        "{x} has which capital?",
        "The king of {x} lives in the capital. What is its name?",
    ),
    table={
        "Doria": "Lumen", "Varland": "Oskar", "Milona": "Petra", "Tarsia": "Quint",
        "Elmor": "Brisk", "Norvia": "Halden", "Sunda": "Corali", "Ruska": "Tamber",
        "Wendel": "Fern", "Zemba": "Kito",
    },
)  # fmt: skip

_PAIRS = (
    ("hot", "cold"), ("big", "small"), ("old", "new"), ("fast", "slow"), ("wet", "dry"),
    ("happy", "sad"), ("light", "heavy"), ("hard", "soft"), ("rich", "poor"),
    ("loud", "quiet"), ("clean", "dirty"), ("strong", "weak"),
)  # fmt: skip

OPPOSITES = Relation(
    statements=("The opposite of {x} is {y}.", "Not {x} means {y}."),
    questions=(
        "What is {x} the opposite of?",
        "If it is not {x}, then what is it?",
        "Something is {x}. What would be the opposite?",
        "Think of {x}. Which word is the opposite?",
    ),
    table={x: y for x, y in _PAIRS} | {y: x for x, y in _PAIRS},
)

SUMS = Relation(
    statements=("{x} is {y}.", "{x} makes {y}."),
    questions=(
        "What is {x} in all?",
        "I count {x}. How many is that?",
        "{x} makes how many?",
        "My sum is {x}. What is the result?",
    ),
    table={
        f"{NUMBERS[x]} plus {NUMBERS[y]}": NUMBERS[x + y] for x in range(1, 6) for y in range(1, 6)
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
        "pen": "write letters", "lamp": "light rooms", "rope": "tie boats",
        "oven": "bake cakes", "drum": "make music", "map": "find roads",
        "needle": "sew shirts", "hammer": "hit nails", "spade": "dig holes",
    },
    one_word=False,
)  # fmt: skip

RELATIONS = (COLOURS, SOUNDS, HOMES, FOODS, CAPITALS, OPPOSITES, SUMS, USES)

CATEGORIES: dict[str, tuple[str, ...]] = {
    "animals": ("dog", "cat", "cow", "sheep", "fox", "bear", "wolf", "horse", "pig", "goat"),
    "birds": ("owl", "duck", "hen", "crow", "swan", "robin", "eagle", "stork"),
    "fruits": ("apple", "plum", "lemon", "cherry", "banana", "grape", "pear", "lime"),
    "colours": ("red", "blue", "green", "yellow", "white", "black", "orange", "purple"),
    "tools": ("hammer", "spade", "broom", "knife", "needle", "saw", "rope", "axe"),
    "toys": ("ball", "kite", "doll", "drum", "puzzle", "top", "train", "swing"),
    "clothes": ("shirt", "hat", "coat", "shoe", "sock", "scarf", "glove", "belt"),
    "drinks": ("milk", "tea", "water", "juice", "coffee", "cocoa", "soda", "cider"),
    "jobs": ("farmer", "baker", "teacher", "doctor", "tailor", "sailor", "painter", "miller"),
    "places": ("river", "hill", "forest", "garden", "bridge", "lake", "tower", "field", "village"),
}

CHARACTERS = (
    "fox", "dog", "cat", "bear", "owl", "duck", "horse", "mouse", "rabbit", "wolf", "goat",
    "lion", "frog", "hen", "king", "farmer", "baker", "sailor", "teacher", "painter",
)  # fmt: skip
THINGS = (
    "lamp",
    "boat",
    "key",
    "drum",
    "kite",
    "ball",
    "rope",
    "map",
    "book",
    "hat",
    "cake",
    "pen",
)
PLACES = (
    "river",
    "hill",
    "forest",
    "garden",
    "bridge",
    "lake",
    "tower",
    "field",
    "village",
    "market",
)
NAMES = ("Tom", "Ann", "Ben", "Lily", "Sam", "Mia", "Max", "Rosa")
QUALITIES = ("hot", "cold", "big", "small", "old", "new", "wet", "dry", "happy", "sad", "heavy",
             "light", "clean", "dirty", "strong", "weak")  # fmt: skip


def state(relation: Relation, subject: str, answer: str, statement: int = 0) -> str:
    """The sentence that says ``answer`` of ``subject``, true or not."""
    return english.polish(relation.statements[statement].format(x=subject, y=answer))


@cache
def _lowered(relation_index: int) -> tuple[dict[str, str], frozenset[str]]:
    table = {x.lower(): y.lower() for x, y in RELATIONS[relation_index].table.items()}
    return table, frozenset(table.values())


@cache
def verdict(sentence: str) -> bool | None:
    """True or False when the sentence states a fact of a table, None when it states none."""
    text = english.bare(sentence)
    for index, relation in enumerate(RELATIONS):
        table, answers = _lowered(index)
        for statement in relation.statements:
            found = english.read(statement, text)
            if found and found["x"] in table and found["y"] in answers:
                return table[found["x"]] == found["y"]
    return None
