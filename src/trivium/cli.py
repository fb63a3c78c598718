"""The command line: find the command, parse, run; whatever goes wrong becomes one line.

Exit codes: 0 everything planned was done, 1 a bug, 2 something the user can mend, 130 Ctrl-C.
Nothing heavy is imported before a command has been found and its arguments have been parsed.
"""

import inspect
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from trivium import classic_commands, commands, label_commands
from trivium.config import STAGES
from trivium.errors import UserError

DEBUG = "--debug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Commands that the help shows together."""

    title: str
    commands: dict[str, Callable[..., None] | type]
    """By name: a function whose parameters are the flags, or a stage's config class."""


GROUPS = (
    Group(
        title="Start here",
        commands={"quickstart": commands.quickstart, "doctor": commands.doctor},
    ),
    Group(
        title="A whole run",
        commands={
            "plan": commands.plan,
            "run": commands.run,
            "resume": commands.resume,
            "recipe list": commands.recipe_list,
            "recipe show": commands.recipe_show,
            "recipe copy": commands.recipe_copy,
        },
    ),
    Group(
        title="One stage",
        commands={name: STAGES[name] for name in ("sft", "reward", "ppo", "evaluate")}
        | {name: STAGES[name] for name in ("collect", "pretrain")},
    ),
    Group(
        title="Look and talk",
        commands={"inspect": commands.inspect, "chat": commands.chat},
    ),
    Group(
        title="Learn how it works",
        commands={
            "classic": classic_commands.classic,
            "study": commands.study,
            "overoptimise": commands.overoptimise,
        },
    ),
    Group(
        title="Data",
        commands={
            "data check": commands.data_check,
            "data stats": commands.data_stats,
            "data convert": commands.data_convert,
            "data split": commands.data_split,
            "data leak-check": commands.data_leak_check,
        },
    ),
    Group(
        title="Labeling",
        commands={
            "label serve": label_commands.label_serve,
            "label invite": label_commands.label_invite,
            "label import": label_commands.label_import,
            "label generate": label_commands.label_generate,
            "label export": label_commands.label_export,
            "label settings": label_commands.label_settings,
            "label stats": label_commands.label_stats,
            "label verify": label_commands.label_verify,
            "label backup": label_commands.label_backup,
        },
    ),
)
COMMANDS = {name: target for group in GROUPS for name, target in group.commands.items()}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `trivium`; None: those of this process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as error:
        _say(f"stopped; {error}" if str(error) else "stopped")
        return 130
    except Exception as error:
        if debug:
            raise
        return _explain(error, words)
    return code


def _explain(error: Exception, words: list[str]) -> int:
    """One line about ``error`` on stderr; the exit code."""
    if isinstance(error, UserError):
        _say(str(error))
        return 2
    command = shlex.join(["trivium", *words, DEBUG])
    _say(f"{type(error).__name__}: {error}; this is a bug, run again with --debug: {command}")
    return 1


def _say(text: str) -> None:
    print(f"trivium: {' '.join(text.split())}", file=sys.stderr)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(help_text())
        return 0
    name, rest = _find(words)
    if name is None:
        print(_group_help(words[0]))
        return 0
    from trivium import arguments  # loads tyro, which the help can do without

    run = arguments.parse(name, COMMANDS[name], rest)
    if run is not None:
        run()
    return 0


def _find(words: list[str]) -> tuple[str | None, list[str]]:
    """The command's name and its arguments; no name: help is wanted on the verbs of words[0]."""
    if words[0] in COMMANDS:
        return words[0], words[1:]
    verbs = [name.split()[1] for name in COMMANDS if name.startswith(f"{words[0]} ")]
    if not verbs:
        known = dict.fromkeys(name.split()[0] for name in COMMANDS)
        raise UserError(f"{words[0]}: no such command{_nearest(words[0], list(known))}")
    if len(words) == 1 or words[1] in ("--help", "-h"):
        return None, []
    if words[1] not in verbs:
        raise UserError(f"{words[0]} {words[1]}: no such command{_nearest(words[1], verbs)}")
    return f"{words[0]} {words[1]}", words[2:]


def _nearest(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(known)}"


def about(name: str) -> str:
    """What a command does: the first line of its docstring."""
    return (inspect.getdoc(COMMANDS[name]) or "").partition("\n")[0]


def help_text() -> str:
    """What `trivium --help` prints."""
    lines = [
        "usage: trivium COMMAND ...",
        "",
        "A language model learns to follow instructions from demonstrations and rankings.",
    ]
    for group in GROUPS:
        lines += ["", group.title, *(_line(name) for name in group.commands)]
    lines += [
        "",
        "`trivium COMMAND --help` lists a command's flags. Every command takes --debug: it shows",
        "the traceback of an error. Exit codes: 0 all done, 2 your input, 1 a bug, 130 Ctrl-C.",
    ]
    return "\n".join(lines)


def _group_help(first: str) -> str:
    names = [name for name in COMMANDS if name.startswith(f"{first} ")]
    return "\n".join([f"usage: trivium {first} VERB ...", "", *map(_line, names)])


def _line(name: str) -> str:
    return f"  {name:<16} {about(name)}"
