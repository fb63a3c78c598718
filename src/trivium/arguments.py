"""From words on the command line to a call: tyro does it, and its errors become one line."""

import contextlib
import dataclasses
import functools
import inspect
import io
import re
import types
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from trivium.commands import run_stage
from trivium.config import StageConfig
from trivium.errors import UserError

Config = TypeVar("Config")
PAIRS = {"--models": "folders in turn: --models sft runs/sft ppo runs/ppo"}
"""What follows the names of a flag that takes pairs, with an example."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StageFlags(Generic[Config]):
    """What every stage takes, and its config."""

    out: Path
    """Run directory to write, new or empty."""

    config: Path | None = None
    """YAML file with values for the flags below; flags given here win."""

    settings: Annotated[Config, tyro.conf.arg(name="")]


def parse(
    name: str, target: Callable[..., None] | type, words: list[str]
) -> Callable[[], None] | None:
    """The call that ``words`` ask for.

    Args:
        name: the command, as it is called.
        target: its function, or the config class of its stage.
        words: what follows the name.

    Returns:
        The call, ready to be made; None: help was wanted and has been printed.

    Raises:
        UserError: one line about the first thing that does not fit.
    """
    if "--help" in words or "-h" in words:
        print(help_text(name, target), end="")
        return None
    _refuse_repeated(name, words)
    if isinstance(target, type):
        flags, default, words = _stage_parser(name, target, words)
        parsed = _tyro(name, flags, default, words, target.__doc__)
        return functools.partial(run_stage, parsed.settings, parsed.out)
    return _tyro(name, _binder(target), None, words, target.__doc__)


def help_text(name: str, target: Callable[..., None] | type) -> str:
    """What `trivium NAME --help` prints."""
    if isinstance(target, type):
        parser, default, _ = _stage_parser(name, target, [])
    else:
        parser, default = _binder(target), None
    _, printed = _cli(name, parser, default, ["--help"], target.__doc__)
    return "\n".join(line.rstrip() for line in printed.splitlines()).rstrip() + "\n"


def options(help_of_command: str) -> list[str]:
    """The long options that a help text lists, in its order."""
    heads = re.findall(r"^  (-.*?)(?:  |$)", help_of_command, re.MULTILINE)
    return [option for head in heads for option in re.findall(r"--[a-z][\w.-]*", head)]


def _refuse_repeated(name: str, words: list[str]) -> None:
    """Tyro would let the last of two win, silently."""
    seen: set[str] = set()
    for option in _options_in(words):
        if option in seen:
            raise UserError(f"{name}: {option} is given twice; give it once, with all its values")
        seen.add(option)


def _options_in(words: list[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("--") and len(word) > 2:
            yield word.partition("=")[0].replace("_", "-")


def _binder(function: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """A function with the signature of ``function`` that returns the call instead of making it.

    Errors of parsing and errors of running are thus kept apart. Positional arguments are shown
    under their own names; the annotation that says so is put on a copy, because the functions
    themselves live in a module that must not import tyro.
    """
    positional = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.POSITIONAL_ONLY
    ]
    shown = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    shown.__doc__, shown.__kwdefaults__ = function.__doc__, function.__kwdefaults__
    shown.__annotations__ = function.__annotations__ | {
        name: Annotated[function.__annotations__[name], tyro.conf.arg(metavar=name.upper())]
        for name in positional
    }
    bind = functools.partial(functools.partial, shown)
    return functools.update_wrapper(bind, shown)


def _stage_parser(
    name: str, cls: type[StageConfig], words: list[str]
) -> tuple[Any, StageFlags[StageConfig], list[str]]:
    """Parser type, defaults and words of a stage: a --config file replaces the defaults."""
    values = _read_config(name, cls, words)
    words = list(words)
    for field, value in values.items():
        # Tyro would make a flag of each key of a default dict, and refuse to take other keys.
        if isinstance(value, dict):
            if f"--{field}" not in _options_in(words):
                words += [f"--{field}", *(part for pair in value.items() for part in pair)]
            values = {**values, field: tyro.MISSING}
    # Required fields may come from flags alone, so this default is a config nobody has checked;
    # tyro makes a new one of the parsed values, and that one checks itself.
    settings = object.__new__(cls)
    for field in dataclasses.fields(cls):
        object.__setattr__(settings, field.name, values.get(field.name, _default(field)))
    default = StageFlags(out=tyro.MISSING, settings=settings)
    return StageFlags[cls], default, words


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING


def _read_config(name: str, cls: type[StageConfig], words: list[str]) -> dict[str, Any]:
    """Values of the file behind --config, as the types of ``cls``; not all need be there."""
    path = _config_path(words)
    if path is None:
        return {}
    from trivium.runs import config_file

    values = config_file.read_mapping(path)
    if (kind := values.pop("stage", name)) != name:
        raise UserError(f"{path}: holds a config of stage {kind!r}; run it with: trivium {kind}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UserError(f"{path}: {key}: unknown key{config_file.nearest(key, fields)}")
    given = dataclasses.make_dataclass("Given", [(key, fields[key].type) for key in values])
    built = config_file.build(given, values, where=str(path))
    return {key: getattr(built, key) for key in values}


def _config_path(words: list[str]) -> Path | None:
    for word, following in pairwise([*words, ""]):
        if word == "--config" and following:
            return Path(following)
        if word.startswith("--config="):
            return Path(word.partition("=")[2])
    return None


def _tyro(name: str, parser: Any, default: Any, words: list[str], about: str | None) -> Any:
    parsed, printed = _cli(name, parser, default, words, about)
    if parsed is not None:
        return parsed
    _, help_of_command = _cli(name, parser, default, ["--help"], about)
    raise UserError(f"{name}: {_one_line(name, printed, words, options(help_of_command))}")


def _cli(
    name: str, parser: Any, default: Any, words: list[str], about: str | None
) -> tuple[Any, str]:
    """What tyro made of ``words``, None if it stopped, and what it printed (without frames)."""
    description = inspect.cleandoc(about or "").partition("\n\nArgs:")[0]
    printed = io.StringIO()
    parsed = None
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        contextlib.suppress(SystemExit),
    ):
        parsed = tyro.cli(
            parser,
            prog=f"trivium {name}",
            args=words,
            description=description,
            default=tyro.MISSING if default is None else default,
        )
    return parsed, printed.getvalue()


def _heads(listed: str) -> list[str]:
    """Tyro lists arguments at the first indent, their help at the second."""
    return re.findall(r"^ {6}(\S.*?) *$", listed, re.MULTILINE)


def _one_line(name: str, complaint: str, words: list[str], known: list[str]) -> str:
    """Tyro's box as a line: what is wrong, and the nearest flag to a mistyped one."""
    for option in _options_in(words):
        if option not in known:
            close = get_close_matches(option, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"see trivium {name} --help"
            return f"unknown flag {option}; {hint}"
    said = complaint.partition("For full helptext")[0]
    listed, _, surplus = said.partition("Unrecognized options:")
    wrong: list[str] = []
    if "Missing from" in listed:
        wrong += [f"missing {', '.join(_heads(listed))}"]
    if surplus:
        # A list where something is missing too, else words on the same line.
        inline = " ".join(surplus.strip(" -\n").split())
        wrong += [f"unexpected {', '.join(_heads(surplus)) or inline}"]
    if wrong:
        return "; ".join(wrong)
    if pairs := re.search(r"Error parsing (--\S+): Failed to parse key-value pairs", complaint):
        return f"{pairs[1]}: expected names and {PAIRS.get(pairs[1], 'values in turn')}"
    _, *lines = (line.strip(" -") for line in complaint.splitlines())
    text = " ".join(line for line in lines if line)
    return re.split(r"For full helptext|Argument helptext|Got errors", text)[0].strip()
