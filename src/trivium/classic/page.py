"""index.html: the table, the learning curves, the cat before and after; one file, no script."""

from collections.abc import Sequence

import jinja2

from trivium.classic import figures, grid, results, tasks
from trivium.classic.ladder import Outcome
from trivium.classic.results import Line
from trivium.classic.tasks import Task, World

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light; }
body { margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 62rem;
  color: #22262b; background: #fff;
  font: 1.05rem/1.55 Charter, "Iowan Old Style", Palatino, Georgia, "DejaVu Serif", serif; }
h1 { margin: 0 0 .4rem; font-size: 2rem; line-height: 1.2; font-weight: 600; }
h2 { margin: 3rem 0 .8rem; padding-top: .8rem; border-top: 1px solid #dfe2e5; font-size: 1.3rem; }
h3 { margin: 1.6rem 0 .3rem; font-size: 1rem; }
p { max-width: 44rem; margin: 0 0 1rem; }
img { display: block; max-width: 100%; height: auto; }
table, .note { font-family: "Helvetica Neue", Helvetica, Roboto, "Liberation Sans", sans-serif; }
.note { color: #666c74; font-size: .86rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;
  border-top: 1.5px solid; border-bottom: 1.5px solid; margin: 1.2rem 0 .8rem; }
thead th { border-bottom: 1px solid #666c74; }
th, td { padding: .36rem 0 .36rem 1.3rem; text-align: right; white-space: nowrap; }
tr > :first-child { padding-left: 0; text-align: left; font-weight: 400; }
thead th:first-child { font-weight: 600; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ finding }}</p>
<div class="scroll"><table>
<thead><tr>{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}<tr><th scope="row">{{ row[0] }}</th>
{%- for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
<p class="note">{{ notes }}</p>

<h2>Learning curves</h2>
<p>Return over the optimum against environment steps. Thin: a seed. Thick: the median. Dashed: the
optimum; dotted: 95 % of it.</p>
<img src="{{ curves }}" alt="Learning curves of {{ rows | map('first') | join(', ') }}">
{% if best %}
<h2>The grid and its best moves</h2>
<p>The cat wants the meat (+100). A bathtub is -10, and either ends the episode; a broom is -1.
With probability {{ drunkenness }} a move is random. Arrows and numbers are the oracle's: an
optimal move of each cell and the discounted return from there.</p>
<img src="{{ best }}" alt="The grid with an optimal move in each cell" style="max-width: 33rem">

<h2>The cat before and after</h2>
<p>One episode each, of seed 0, by the policy itself, chance included.</p>
<h3>Before training: every move equally likely</h3>
<img src="{{ before }}" alt="An episode of the untrained cat">
{% for name, strip in strips %}<h3>After {{ name }}</h3>
<img src="{{ strip }}" alt="An episode of the cat trained by {{ name }}">
{% endfor %}{% endif %}
</body>
</html>
"""


def html(outcomes: Sequence[Outcome], lines: Sequence[Line], *, world: World, task: Task) -> str:
    """The page of a ladder's outcomes."""
    names = [line.name for line in lines]
    pictures = _cat(outcomes, names, world, task) if world.env == tasks.CAT else {}
    reached = sum(line.share >= 0.95 for line in lines)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined)
    return environment.from_string(TEMPLATE).render(
        title=f"From REINFORCE to PPO on {world.env}",
        finding=(
            f"{reached} of {len(lines)} algorithms end at 95 % of the optimum or above (median "
            f"over seeds). The optimum is {task.optimum:.2f}."
        ),
        heads=results.HEADS,
        rows=[results.cells(line) for line in lines],
        notes=results.notes(lines[0].seeds),
        curves=figures.curves(outcomes, names),
        **pictures,
    )


def _cat(
    outcomes: Sequence[Outcome], names: Sequence[str], world: World, task: Task
) -> dict[str, object]:
    place = grid.parse(world.layout, drunkenness=world.drunkenness)
    first = {outcome.name: outcome for outcome in outcomes if outcome.seed == 0}
    return {
        "drunkenness": world.drunkenness,
        "best": figures.best_moves(place, gamma=task.gamma),
        "before": figures.strip(place, first[names[0]].walks[0]),
        "strips": [(name, figures.strip(place, first[name].walks[1])) for name in names],
    }
