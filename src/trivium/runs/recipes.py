"""Recipes: complete runs in a YAML file, from its text to the configs of its stages.

    about: one line: what it does, on what it runs
    inputs: {model: some/hub-name, data: null}   # defaults of --model and --data; null: required
    seed: 0                                      # for every stage that does not set its own
    stages:
      sft: {model: "{model}", demonstrations: "{data}/demonstrations.jsonl"}
      reward: {model: "@sft", rankings: "{data}/rankings.jsonl", ...}
      ppo_ptx: {stage: ppo, policy: "@sft", reward: ["@reward"], ...}

`@sft` is the run directory of an entry above, `@sft/data/x.jsonl` a file in it; in a reward it may
stand behind NAME= or NAME=WEIGHT*. The kind of a stage is the entry's name unless `stage` says so.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from trivium.config import StageConfig
from trivium.errors import UserError
from trivium.runs.config_file import build, nearest, parse_mapping, stage_class

KEYS = ("about", "inputs", "seed", "stages")
INPUTS = ("model", "data")
ENTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
REFERENCE = re.compile(r"(?:^|(?<=[=*]))@(?P<entry>[\w-]+)|\{(?P<input>model|data)\}")
SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stage of a recipe, ready to run."""

    name: str
    """Name of its run directory inside the recipe's."""

    kind: str
    """Which stage it is: a key of `trivium.config.STAGES`."""

    config: StageConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A complete run: its stages in order, all references resolved."""

    name: str
    about: str
    seed: int
    stages: tuple[Entry, ...]


def names() -> list[str]:
    """Names of the recipes in the package, sorted."""
    files = resources.files("trivium").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX))


def read_text(name: str) -> str:
    """The YAML text of a recipe of the package.

    Raises:
        UserError: there is none of this name; the nearest is named.
    """
    if name not in names():
        raise UserError(f"{name}: no such recipe and no such file{nearest(name, names())}")
    file = resources.files("trivium").joinpath("recipes", name + SUFFIX)
    return file.read_text(encoding="utf-8")


def load(
    name_or_path: str,
    *,
    out: Path,
    model: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
) -> Recipe:
    """Read a recipe of the package, or a file, and build the config of every stage.

    Args:
        name_or_path: a name from `names`, else the path of a YAML file.
        out: directory of the whole run; entries have theirs inside it.
        model: replaces the recipe's default of `{model}`.
        data: replaces the recipe's default of `{data}`.
        seed: replaces the recipe's seed; stages that set their own keep it.
        overrides: `entry.field=value`, the value in YAML: `ppo.sampling.temperature=0.7`.

    Raises:
        UserError: anything in the file or the arguments that does not fit, with its place.
    """
    in_package = name_or_path in names()
    path = Path(name_or_path)
    if in_package or not path.is_file():
        text, where = read_text(name_or_path), f"recipe {name_or_path}"
    else:
        text, where = path.read_text(encoding="utf-8"), name_or_path
    values = parse_mapping(text, where=where)
    _check_shape(values, where)
    entries = {name: dict(fields or {}) for name, fields in values["stages"].items()}
    for override in overrides:
        set_field(entries, override)
    given = _inputs(values.get("inputs") or {}, {"model": model, "data": data}, where)
    chosen_seed = seed if seed is not None else values.get("seed", 0)
    stages: list[Entry] = []
    for name, fields in entries.items():
        place = f"{where}: {name}"
        done = tuple(entry.name for entry in stages)
        resolved = _resolve(
            fields, _Known(out=out, done=done, entries=tuple(entries), inputs=given), place
        )
        stages.append(_entry(name, resolved, chosen_seed, place))
    name = name_or_path if in_package else path.stem
    return Recipe(name=name, about=values["about"], seed=chosen_seed, stages=tuple(stages))


def _check_shape(values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in KEYS:
            raise UserError(f"{where}: {key}: unknown key{nearest(str(key), KEYS)}")
    if not isinstance(values.get("about"), str):
        raise UserError(f"{where}: about: expected one line of text that says what the recipe does")
    if type(values.get("seed", 0)) is not int:
        raise UserError(f"{where}: seed: expected a whole number, got {values['seed']!r}")
    stages = values.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise UserError(f"{where}: stages: expected at least one `name: {{field: value, ...}}`")
    for name, fields in stages.items():
        if not isinstance(name, str) or not ENTRY_NAME.fullmatch(name):
            raise UserError(
                f"{where}: stages: {name!r} cannot name a folder; use a-z, 0-9, _ and -"
            )
        if not isinstance(fields, dict | None):
            raise UserError(f"{where}: {name}: expected `field: value`, got {fields!r}")


def _inputs(declared: Any, given: Mapping[str, str | None], where: str) -> dict[str, str | None]:
    """Value of each input the recipe declares; None where a needed one was not given."""
    if not isinstance(declared, dict):
        raise UserError(f"{where}: inputs: expected `{{model: ..., data: ...}}`, got {declared!r}")
    for name, default in declared.items():
        if name not in INPUTS:
            raise UserError(f"{where}: inputs: {name}: unknown input{nearest(str(name), INPUTS)}")
        if not isinstance(default, str | None):
            raise UserError(f"{where}: inputs: {name}: expected text or null, got {default!r}")
    for name, value in given.items():
        if value is not None and name not in declared:
            raise UserError(
                f"{where}: takes no --{name}; leave it out or set the stages' own fields"
            )
    return {
        name: default if given[name] is None else given[name] for name, default in declared.items()
    }


def set_field(entries: dict[str, dict[str, Any]], text: str) -> None:
    """Set one field in place; what the field may hold is checked when the config is built.

    Args:
        entries: fields of each stage by entry name; changed.
        text: `entry.field=value`, the value in YAML.

    Raises:
        UserError: the text has another form, or there is no such entry.
    """
    target, equals, value = text.partition("=")
    entry, *path = target.strip().split(".")
    if not equals or not path or not all(path):
        raise UserError(f"--set {text}: expected ENTRY.FIELD=VALUE, such as ppo.num_steps=5")
    if entry not in entries:
        raise UserError(
            f"--set {text}: {entry}: no such stage in the recipe{nearest(entry, entries)}"
        )
    fields = entries[entry]
    for i, name in enumerate(path[:-1]):
        inner = fields.setdefault(name, {})
        if not isinstance(inner, dict):
            place = ".".join([entry, *path[: i + 1]])
            raise UserError(f"--set {text}: {place} is {inner!r} and has no fields of its own")
        fields[name] = dict(inner)  # a copy: YAML anchors may share one mapping between entries
        fields = fields[name]
    try:
        fields[path[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {text}: {value!r} is no YAML value; put it in quotes") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the references of one entry may point to."""

    out: Path
    done: tuple[str, ...]
    entries: tuple[str, ...]
    inputs: Mapping[str, str | None]


def _resolve(value: Any, known: _Known, where: str) -> Any:
    """``value`` with every `@entry`, `{model}` and `{data}` in its texts replaced, in one pass."""
    if isinstance(value, dict):
        return {key: _resolve(item, known, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, known, where) for item in value]
    if isinstance(value, str):
        return REFERENCE.sub(lambda match: _referent(match, known, where), value)
    return value


def _referent(match: re.Match[str], known: _Known, where: str) -> str:
    entry, name = match["entry"], match["input"]
    if name is not None:
        if name not in known.inputs:
            raise UserError(f"{where}: {{{name}}} is used but not declared; add it to `inputs`")
        value = known.inputs[name]
        if value is None:
            raise UserError(f"{where}: the recipe needs a value here; give --{name}")
        return value
    if entry in known.done:
        return str(known.out / entry)
    if entry in known.entries:
        raise UserError(f"{where}: @{entry} does not come earlier in the recipe; move it up")
    raise UserError(
        f"{where}: @{entry}: no such stage in the recipe{nearest(entry, known.entries)}"
    )


def _entry(name: str, fields: dict[str, Any], seed: int, where: str) -> Entry:
    kind = fields.pop("stage", name)
    cls = stage_class(kind, where=where)
    if "seed" not in fields and any(field.name == "seed" for field in dataclasses.fields(cls)):
        fields["seed"] = seed
    return Entry(name=name, kind=kind, config=build(cls, fields, where=where))
