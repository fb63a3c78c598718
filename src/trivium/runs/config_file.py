"""Configs as YAML: read strictly, written whole, the two inverse to one another."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from trivium.config import STAGES, StageConfig
from trivium.errors import UserError
from trivium.runs.atomic import write_text

Config = TypeVar("Config")
NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def to_dict(cfg: Any) -> dict[str, Any]:
    """A config as plain values of YAML and JSON: nested dicts, tuples as lists."""
    return {field.name: _plain(getattr(cfg, field.name)) for field in dataclasses.fields(cfg)}


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def dump(stage_kind: str, cfg: StageConfig) -> str:
    """The text of config.yaml: the stage's kind and every field, defaults included."""
    values = {"stage": stage_kind, **to_dict(cfg)}
    # ASCII with escapes: written raw, some control characters read back as line breaks.
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=False)


def save(path: Path, stage_kind: str, cfg: StageConfig) -> None:
    """Write `dump` to ``path``, whole or not at all."""
    write_text(path, dump(stage_kind, cfg))


def load(path: Path) -> tuple[str, StageConfig]:
    """Read what `dump` wrote, or what a person wrote in its manner.

    Raises:
        UserError: no such file, no YAML, no or an unknown ``stage``, or what `build` raises.
    """
    values = read_mapping(path)
    if "stage" not in values:
        raise UserError(f"{path}: no `stage`; write `stage: ` and one of {', '.join(STAGES)}")
    kind = values.pop("stage")
    return kind, build(stage_class(kind, where=str(path)), values, where=str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file; a UserError names the file and line of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a YAML file ({error})") from error
    return parse_mapping(text, where=str(path))


def parse_mapping(text: str, *, where: str) -> dict[str, Any]:
    """The YAML mapping in ``text``; a key written twice is an error, not a silent choice."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise UserError(f"{where}{line}: {problem}; expected YAML, `name: value` a line") from error
    if not isinstance(values, dict) or root is None:
        raise UserError(f"{where}: expected YAML with `name: value` on each line, got {values!r}")
    _refuse_duplicates(root, where)
    return values


def _refuse_duplicates(node: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, where)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in seen:
                first = seen[str(key.value)]
                raise UserError(f"{where}:{line}: {key.value!r} is there already, in line {first}")
            seen[str(key.value)] = line
            _refuse_duplicates(value, where)


def stage_class(kind: object, *, where: str) -> type[StageConfig]:
    """The config class of a stage kind, or a UserError with the nearest kind."""
    if not isinstance(kind, str) or kind not in STAGES:
        raise UserError(f"{where}: unknown stage {kind!r}{nearest(str(kind), STAGES)}")
    return STAGES[kind]


def nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """The end of a message about an unknown name: the nearest one, or all of a few."""
    initials = "".join(word[:1] for word in name.split("_"))  # lr, for who writes learning_rate
    close = [initials] if initials in known else difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; expected one of {', '.join(sorted(known))}"


def build(cls: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Make a config from plain values; ``where`` (a file, an entry) opens every message.

    Nested configs may be given in part. Whole numbers do for numbers, and so does text such as
    "1e-5", which YAML 1.1 does not take for a number.

    Raises:
        UserError: an unknown key (with the nearest), a missing field, a wrong type or a value
            that the config refuses.
    """
    try:
        return _build(cls, values, "")
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _build(cls: type[Config], values: Mapping[str, Any], path: str) -> Config:
    hints = _hints(cls)
    for name in values:
        if name not in hints:
            raise UserError(f"{path}{name}: unknown key{nearest(str(name), hints)}")
    missing = [path + name for name in _required(cls) if name not in values]
    if missing:
        raise UserError(f"{', '.join(missing)}: missing; {cls.__name__} cannot do without")
    return cls(**{name: _convert(v, hints[name], path + name) for name, v in values.items()})


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _required(cls: Any) -> list[str]:
    nothing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is nothing and field.default_factory is nothing
    ]


def _convert(value: Any, kind: Any, path: str) -> Any:
    """``value`` as the type ``kind`` of a config field, or a UserError that says what it wanted."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _convert_optional(value, args, path)
    if origin is Literal:
        if value not in args:
            close = nearest(str(value), [str(a) for a in args])
            raise UserError(f"{path}: expected one of {', '.join(args)}, got {value!r}{close}")
        return value
    if origin is tuple:
        return _convert_tuple(value, args, path)
    if origin is dict:
        _require(isinstance(value, Mapping), path, "names and values", value)
        _require(all(isinstance(key, str) for key in value), path, "names that are text", value)
        return {key: _convert(v, args[1], f"{path}.{key}") for key, v in value.items()}
    if dataclasses.is_dataclass(kind):
        _require(isinstance(value, Mapping), path, "names and values", value)
        return _build(typing.cast(Any, kind), value, f"{path}.")
    return _convert_scalar(value, kind, path)


def _convert_optional(value: Any, args: tuple[Any, ...], path: str) -> Any:
    if value is None and types.NoneType in args:
        return None
    (kind,) = (arg for arg in args if arg is not types.NoneType)
    return _convert(value, kind, path)


def _convert_tuple(value: Any, args: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    each = NAMES[args[0]]
    if args[-1] is Ellipsis:
        _require(isinstance(value, list | tuple), path, f"a list, each {each}", value)
        return tuple(_convert(item, args[0], f"{path}[{i}]") for i, item in enumerate(value))
    expected = f"a list of {len(args)}, each {each}"
    _require(isinstance(value, list | tuple) and len(value) == len(args), path, expected, value)
    return tuple(
        _convert(item, arg, f"{path}[{i}]")
        for i, (item, arg) in enumerate(zip(value, args, strict=True))
    )


def _convert_scalar(value: Any, kind: type, path: str) -> Any:
    if kind is float:
        value = _number(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    _require(fits, path, NAMES[kind], value)
    return value


def _number(value: Any) -> Any:
    """``value`` as a float if it is one in another guise; NaN and all else unchanged but unfit."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _require(ok: bool, path: str, expected: str, got: object) -> None:
    if not ok:
        raise UserError(f"{path}: expected {expected}, got {got!r} ({type(got).__name__})")
