"""Put a run of the ladder into docs/classic: its figures, its pictures, the tables of the pages.

trivium classic all --out runs/classic
python docs/classic_results.py runs/classic     writes results.json, the PNGs and the tables
python docs/classic_results.py                  writes the tables anew from results.json

A table stands between `<!-- results: NAME ... -->` and `<!-- end -->`; the names are algorithms.
"""

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "classic"
PICTURES = {
    "Learning curves of": "curves.png",
    "The grid with an optimal move": "best-moves.png",
    "An episode of the untrained cat": "before.png",
    "An episode of the cat trained by ppo_clip": "after-ppo_clip.png",
}
"""How the alternative text of a picture in index.html begins, and what it is called here."""

HEADS = (
    "policy",
    "return",
    "of the optimum",
    "worst to best seed",
    "steps to 95 %",
    "gradient noise, steps",
    "CPU s",
)
PLACE = re.compile(r"(<!-- results: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def take(run: Path) -> None:
    """Copy what is needed of a run's folder."""
    from trivium.classic import grid, oracle, tasks

    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    task, world = tasks.cat(), grid.parse()
    law = tasks.probabilities(lambda cells: cells.new_zeros(len(cells), task.num_actions), world)
    uniform = oracle.policy_values(world, law, gamma=task.gamma)[world.start]
    figures = {
        "command": "trivium classic all",
        "seconds": round(summary["seconds"], 1),
        "optimum": summary["optimum"],
        "uniform": float(uniform),
        "algorithms": summary["algorithms"],
    }
    text = json.dumps(figures, indent=2) + "\n"
    (FOLDER / "results.json").write_text(text, encoding="utf-8")
    page = (run / "index.html").read_text(encoding="utf-8")
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)"', page)
    for start, name in PICTURES.items():
        source = next(png for png, words in found if f"{words} ".startswith(f"{start} "))
        (FOLDER / name).write_bytes(base64.b64decode(source))


def table(figures: dict[str, Any], names: list[str]) -> str:
    """The optimum, the policy that knows nothing, and some algorithms."""
    optimum = figures["optimum"]
    rows = [
        HEADS,
        ("---", *["---:"] * (len(HEADS) - 1)),
        ("optimum, by value iteration", f"{optimum:.2f}", "1", "", "", "", ""),
        ("every move equally likely", f"{figures['uniform']:.2f}", "", "", "", "", ""),
        *(_row(name, figures["algorithms"][name], optimum) for name in names),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, found: dict[str, Any], optimum: float) -> tuple[str, ...]:
    low, high = found["interval"]
    return (
        f"`{name}`",
        f"{optimum * found['return_over_optimum']:.2f}",
        f"{found['return_over_optimum']:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{found['steps_to_95']:,.0f}",
        f"{found['gradient_noise_steps']:,.0f}",
        f"{found['cpu_seconds']:.1f}",
    )


def fill(page: str, figures: dict[str, Any]) -> str:
    """The page with its tables as they should be."""
    return PLACE.sub(lambda m: m[1] + table(figures, m[2].split()) + m[3], page)


def main() -> None:
    """Take a run, if one is named; write the tables."""
    if len(sys.argv) > 1:
        take(Path(sys.argv[1]))
    figures = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    for path in sorted(FOLDER.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (filled := fill(text, figures)) != text:
            path.write_text(filled, encoding="utf-8")
            print(f"wrote the table of {path.name}")


if __name__ == "__main__":
    main()
