"""docs/classic: a page for each algorithm, the same headings on all, figures that were measured."""

import json
import re
from pathlib import Path

import pytest
import torch

from trivium import maths
from trivium.classic import ladder

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "classic"
HEADINGS = [
    "What it does",
    "The equation",
    "Pseudo-code beside the code",
    "Run it",
    "What the metrics mean",
    "Details that matter",
    "Results beside the optimum",
]
RESULTS = json.loads((DOCS / "results.json").read_text(encoding="utf-8"))
FILES = {
    algorithm.train.func.__module__.split(".")[-1] for algorithm in ladder.algorithms().values()
}
PAGES = sorted(DOCS.glob("*.md"))
ROW = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.MULTILINE)


def test_every_algorithm_has_a_page_and_the_readme_leads_to_it():
    assert {page.stem for page in PAGES} == FILES | {"README"}
    readme = (DOCS / "README.md").read_text(encoding="utf-8")
    assert all(f"({name}.md)" in readme for name in FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_page_has_the_same_headings_in_the_same_order(name):
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert f"trivium classic {name} --out" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_say_what_was_measured(page):
    """Cell by cell, as a reader would check it: a number is the measured one, rounded."""
    text = page.read_text(encoding="utf-8")
    asked, table = re.findall(r"<!-- results: (.*?) -->(.*?)<!-- end -->", text, re.DOTALL)[0]
    rows = ROW.findall(table)
    assert [name for name, _ in rows] == asked.split()
    assert page.stem == "README" or page.stem in asked.split()
    assert f"| {RESULTS['optimum']:.2f} | 1 |" in table
    for name, cells in rows:
        measured = RESULTS["algorithms"][name]
        low, high = measured["interval"]
        assert cells.split(" | ") == [
            f"{RESULTS['optimum'] * measured['return_over_optimum']:.2f}",
            f"{measured['return_over_optimum']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{measured['steps_to_95']:,}",
            f"{round(measured['gradient_noise_steps']):,}",
            f"{measured['cpu_seconds']:.1f}",
        ]


def test_the_results_are_of_the_whole_ladder_and_reach_95_percent():
    assert list(RESULTS["algorithms"]) == list(ladder.algorithms())
    for name, measured in RESULTS["algorithms"].items():
        assert measured["seeds"] == 5
        assert measured["return_over_optimum"] >= 0.95, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_at_exists(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "src/trivium").rglob("*.py"))
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, name
    for name in re.findall(r"`(?:maths|learn|Actors)\.(\w+)", text):
        assert f"def {name}(" in source, name
    for file, function in re.findall(r"`(\w+\.py): (\w+)", text):
        code = (ROOT / "src/trivium/classic" / file).read_text(encoding="utf-8")
        assert re.search(rf"(def|class) {function}\b", code), (file, function)


@pytest.mark.parametrize("page", ["classic/ppo_clip.md", "from-reinforce-to-instructgpt.md"])
def test_the_worked_numbers_of_the_clip(page):
    """| A | rho | rho A | clipped | min | gradient ...: what the loss and autograd say of them."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([+-]\d) \| ([\d.]+) \| (.*?) \| (.*?) \| (.*?) \| (\w+)", text, re.M)
    assert {(row[0][0], row[1]) for row in rows} == {
        ("+", "3.0"),
        ("+", "0.5"),
        ("-", "3.0"),
        ("-", "0.5"),
    }
    for advantage, ratio, plain, clipped, least, gradient in rows:
        logprob = torch.tensor([[float(ratio)]]).log().requires_grad_()
        praise = torch.tensor([[float(advantage)]])
        loss = maths.ppo_clip_loss(logprob, torch.zeros(1, 1), praise, clip=0.2)
        assert -loss.item() == pytest.approx(float(least))
        assert min(float(plain), float(clipped)) == float(least)
        assert float(plain) == pytest.approx(float(advantage) * float(ratio))
        (slope,) = torch.autograd.grad(-loss.sum(), logprob)
        expected = 0.0 if gradient in ("none", "0") else float(plain)
        assert slope.item() == pytest.approx(expected)


def test_the_walk_cites_what_was_measured():
    text = (ROOT / "docs" / "from-reinforce-to-instructgpt.md").read_text(encoding="utf-8")
    noise = {"reinforce", "reinforce_to_go", "reinforce_baseline", "off_policy"}
    noise |= {"actor_critic", "actor_critic_gae"}
    for name in noise:
        figure = f"{round(RESULTS['algorithms'][name]['gradient_noise_steps']):,}"
        assert re.search(rf"(?<![\d,]){figure}(?![\d,])", text), (name, figure)
    for name in ("ppo_clip", "actor_critic_gae", "trpo"):
        figure = f"{RESULTS['algorithms'][name]['steps_to_95']:,}"
        assert figure in text, (name, figure)
