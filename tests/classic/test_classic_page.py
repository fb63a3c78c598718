"""The table, summary.json and the page; the last one through the command line."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from trivium import cli
from trivium.classic import drawing, figures, grid, results
from trivium.classic.ladder import Outcome


def outcome(seed: int, *, final: float, reached: int | None, noise: float | None = None) -> Outcome:
    return Outcome(
        name="trpo",
        seed=seed,
        steps=(0, 100),
        shares=(0.0, final),
        steps_to_goal=reached,
        noise_steps=noise,
        walks=((), ()),
        cpu_seconds=float(seed),
    )


def test_a_line_by_hand():
    outcomes = [
        outcome(0, final=0.9, reached=None),
        outcome(1, final=1.0, reached=40, noise=7.0),
        outcome(2, final=0.97, reached=60, noise=9.0),
    ]
    line = results.line(outcomes)
    assert (line.share, line.low, line.high) == (0.97, 0.9, 1.0)
    assert line.steps_to_goal == 60  # never, 40, 60
    assert line.noise_steps == 8
    assert line.cpu_seconds == 1
    assert results.cells(line) == ("trpo", "0.970", "0.900 to 1.000", "60", "8", "1.0")


def test_half_of_the_seeds_never_there_is_never():
    line = results.line([outcome(0, final=0.1, reached=None), outcome(1, final=1.0, reached=40)])
    assert line.steps_to_goal is None
    assert results.cells(line)[3:5] == ("never", "unknown")


def test_the_interval_covers_the_median_as_often_as_it_says():
    random = np.random.default_rng(0)
    draws = random.exponential(size=(20_000, 5))  # median log 2
    covered = (draws.min(axis=1) < np.log(2)) & (np.log(2) < draws.max(axis=1))
    assert results.coverage(5) == pytest.approx(covered.mean(), abs=0.01)


def picture(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def test_a_film_strip_has_the_first_and_the_last_frame():
    world = grid.parse("C.M")
    image = np.asarray(picture(figures.strip(world, [0, 1, 1, 1, 1, 1, 1, 1, 1, 2])).convert("RGB"))
    width = 3 * drawing.CELL + 1
    for place, cell in ((0, 0), (figures.FRAMES - 1, 2)):
        left = place * (width + figures.GAP)
        shown = image[: drawing.CELL + 1, left : left + width].astype(int)
        # a palette of 64 colours may round a little
        assert np.abs(shown - drawing.rgb(world, cell)).max() < 24


def test_the_command_trains_and_writes_the_page(tmp_path, capsys):
    layout = tmp_path / "grid.txt"
    layout.write_text("C..\n.TM\n")
    words = ["classic", "actor_critic_gae", "--seeds", "1", "--layout", str(layout)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "actor_critic_gae" in printed.out
    assert "1/1" in printed.err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    figures_of = summary["algorithms"]["actor_critic_gae"]
    assert figures_of["return_over_optimum"] > 0.9
    assert 0 < figures_of["steps_to_95"] < 60_000
    assert figures_of["gradient_noise_steps"] > 0
    assert figures_of["seeds"] == 1
    page = (tmp_path / "out" / "index.html").read_text()
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert len(sources) == 4  # curves, best moves, before, after
    assert all(picture(source).width > 200 for source in sources)
    assert not re.search(r"(src|href)=.https?:", page)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ppo"], "classic ppo: no such algorithm; expected all, reinforce,"),
        (["all", "--seeds", "0"], "--seeds 0: expected 1 or more"),
        (["all", "--layout", "none.txt"], "none.txt: cannot be read"),
        (["all", "--drunkenness", "2"], "drunkenness is 2.0, expected a probability"),
    ],
)
def test_mistakes_are_explained(words, says, tmp_path, capsys):
    assert cli.main(["classic", *words, "--out", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err
