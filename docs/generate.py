"""Write the pages and lists that are made from the code: `make docs`.

python docs/generate.py           writes them
python docs/generate.py --check   writes nothing; exit code 1 if one is stale

docs/cli.md                 every command's help
docs/metrics.md             the table of metrics
tests/house/options.txt     every command-line option: a change of it is a change for users
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = "80"


def cli_page() -> str:
    """All help texts."""
    from trivium import arguments, cli

    parts = [
        "# Commands",
        "Made by `make docs` from the code.",
        "```\n" + cli.help_text() + "\n```",
    ]
    for name, target in cli.COMMANDS.items():
        parts += [f"## trivium {name}", f"```\n{arguments.help_text(name, target)}```"]
    return "\n\n".join(parts) + "\n"


def option_list() -> str:
    """One line per command and option, sorted."""
    from trivium import arguments, cli

    lines = [
        f"{name} {option}"
        for name, target in cli.COMMANDS.items()
        for option in arguments.options(arguments.help_text(name, target))
    ]
    return "\n".join(sorted(lines)) + "\n"


def metrics_page() -> str:
    """The table of metrics."""
    from trivium.runs import metrics

    return metrics.markdown()


def main() -> int:
    """Write, or compare; the exit code."""
    os.environ["COLUMNS"] = WIDTH
    pages = {
        ROOT / "docs" / "cli.md": cli_page(),
        ROOT / "docs" / "metrics.md": metrics_page(),
        ROOT / "tests" / "house" / "options.txt": option_list(),
    }
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run make docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
