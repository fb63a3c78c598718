"""Recipes: from YAML to configs, every reference resolved, every slip named."""

from pathlib import Path

import pytest

from trivium.config import PPO, Evaluate
from trivium.errors import UserError
from trivium.runs import recipes

RECIPE = """
about: three stages on nothing
inputs: {model: hub/small, data: null}
seed: 3
stages:
  sft: {model: "{model}", demonstrations: "{data}/demonstrations.jsonl", lr: 1e-5}
  reward:
    model: "@sft"
    rankings: "{data}/rankings.jsonl"
    demonstrations: "@sft/data/d.jsonl"
    seed: 9
  ppo_ptx:
    stage: ppo
    policy: "@sft"
    reward: ["@reward", "gold=0.5*@reward", "pkg.mod:function", "a@b"]
    prompts: p.jsonl
    sampling: {temperature: 0.9}
  evaluate: {models: {sft: "@sft", ppo: "@ppo_ptx"}, prompts: p.jsonl}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE)
    return file


def test_a_recipe_becomes_configs(path):
    recipe = recipes.load(str(path), out=Path("runs/x"), data="d")
    assert (recipe.name, recipe.about, recipe.seed) == ("mine", "three stages on nothing", 3)
    assert [(entry.name, entry.kind) for entry in recipe.stages] == [
        ("sft", "sft"),
        ("reward", "reward"),
        ("ppo_ptx", "ppo"),
        ("evaluate", "evaluate"),
    ]
    sft, reward, ppo, evaluate = (entry.config for entry in recipe.stages)
    assert (sft.model, sft.demonstrations) == ("hub/small", "d/demonstrations.jsonl")
    assert (sft.lr, sft.seed, sft.num_epochs) == (1e-5, 3, 2)
    assert (reward.model, reward.demonstrations) == ("runs/x/sft", "runs/x/sft/data/d.jsonl")
    assert reward.seed == 9
    assert ppo.reward == ("runs/x/reward", "gold=0.5*runs/x/reward", "pkg.mod:function", "a@b")
    assert isinstance(evaluate, Evaluate)
    assert evaluate.models == {"sft": "runs/x/sft", "ppo": "runs/x/ppo_ptx"}


def test_arguments_replace_the_recipes_own(path):
    overrides = [
        "ppo_ptx.num_steps=5",
        "ppo_ptx.sampling.max_response_tokens=7",
        "sft.adam.eps=1e-6",
    ]
    recipe = recipes.load(
        str(path), out=Path("o"), model="{data}@sft", data="d", seed=0, overrides=overrides
    )
    sft, reward, ppo, _ = (entry.config for entry in recipe.stages)
    assert sft.model == "{data}@sft"  # what the user gives is taken as it is
    assert (recipe.seed, sft.seed, reward.seed) == (0, 0, 9)
    assert isinstance(ppo, PPO)
    assert (ppo.num_steps, ppo.sampling.max_response_tokens) == (5, 7)
    assert (ppo.sampling.temperature, sft.adam.eps) == (0.9, 1e-6)


def test_an_override_may_refer_to_a_stage(path):
    recipe = recipes.load(
        str(path), out=Path("o"), data="d", overrides=["ppo_ptx.reward=['@reward']"]
    )
    assert recipe.stages[2].config.reward == ("o/reward",)


def test_an_override_does_not_leak_through_a_shared_mapping(tmp_path):
    path = tmp_path / "shared.yaml"
    path.write_text(
        "about: x\nstages:\n"
        "  a: {stage: pretrain, adam: &adam {eps: 0.1}}\n"
        "  b: {stage: pretrain, adam: *adam}\n"
    )
    recipe = recipes.load(str(path), out=tmp_path, overrides=["a.adam.eps=0.5"])
    assert [entry.config.adam.eps for entry in recipe.stages] == [0.5, 0.1]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("about: three", "abut: x\nabout: three", "abut: unknown key; did you mean 'about'?"),
        ("about: three stages on nothing", "", "about: expected one line of text"),
        ("seed: 3", "seed: three", "seed: expected a whole number, got 'three'"),
        ("data: null", "date: null", "inputs: date: unknown input; did you mean 'data'?"),
        ("data: null}", "data: 3}", "inputs: data: expected text or null, got 3"),
        ("inputs: {model: hub/small, data: null}", "", r"sft\.model: {model} is used but not decl"),
        ("lr: 1e-5", "lrr: 1", "mine.yaml: sft: lrr: unknown key; did you mean 'lr'?"),
        ("lr: 1e-5", "lr: -1", "mine.yaml: sft: lr: expected >= 0, got -1.0"),
        ("stage: ppo", "stage: pop", "ppo_ptx: unknown stage 'pop'; did you mean 'ppo'?"),
        ("  ppo_ptx:", "  ../ppo:", "'../ppo' cannot name a folder"),
        ('"@sft/data', '"@ppo_ptx/data', r"demonstrations: @ppo_ptx does not come earlier"),
        ('model: "@sft"', 'model: "@reward"', r"reward\.model: @reward does not come earlier"),
        ('model: "@sft"', 'model: "@sftt"', "@sftt: no such stage .*did you mean 'sft'"),
        ("  reward:", "  sft:", "'sft' is there already, in line"),
    ],
)
def test_slips_in_a_recipe(path, old, new, expected):
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new, 1))
    given = {} if "inputs:" in old else {"data": "d"}
    with pytest.raises(UserError, match=expected) as error:
        recipes.load(str(path), out=Path("o"), **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stages", ["", "stages:", "stages: {}", "stages: [a]", "stages: {sft: 3}"])
def test_a_recipe_without_stages(tmp_path, stages):
    path = tmp_path / "r.yaml"
    path.write_text(f"about: x\n{stages}\n")
    with pytest.raises(UserError, match="expected"):
        recipes.load(str(path), out=Path("o"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("ppo_ptx.num_stepz=5", "ppo_ptx: num_stepz: unknown key; did you mean 'num_steps'?"),
        ("ppo.num_steps=5", "ppo: no such stage in the recipe; did you mean 'ppo_ptx'?"),
        ("ppo_ptx.num_steps", "expected ENTRY.FIELD=VALUE"),
        ("ppo_ptx=5", "expected ENTRY.FIELD=VALUE"),
        ("ppo_ptx..x=5", "expected ENTRY.FIELD=VALUE"),
        ("ppo_ptx.num_steps=[", "is no YAML value"),
        ("ppo_ptx.num_steps=many", "num_steps: expected a whole number, got 'many'"),
        ("ppo_ptx.prompts.x=1", r"ppo_ptx\.prompts is 'p.jsonl' and has no fields"),
    ],
)
def test_slips_in_an_override(path, override, expected):
    with pytest.raises(UserError, match=expected):
        recipes.load(str(path), out=Path("o"), data="d", overrides=[override])


def test_inputs_that_are_missing_or_not_taken(path, tmp_path):
    with pytest.raises(UserError, match=r"sft\.demonstrations: .* give --data"):
        recipes.load(str(path), out=Path("o"))
    closed = tmp_path / "closed.yaml"
    closed.write_text("about: x\nstages: {pretrain: }\n")
    with pytest.raises(UserError, match="takes no --model"):
        recipes.load(str(closed), out=Path("o"), model="m")
    assert recipes.load(str(closed), out=Path("o")).stages[0].name == "pretrain"


def test_unknown_recipes_name_the_nearest():
    for name in recipes.names():
        with pytest.raises(UserError, match=f"no such recipe and no such file.*{name}"):
            recipes.read_text(name + "x")


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_of_the_package_build(name, tmp_path):
    recipe = recipes.load(name, out=tmp_path, **inputs(name))
    assert recipe.name == name
    assert "\n" not in recipe.about
    assert recipe.stages


def inputs(name: str) -> dict[str, str]:
    """A value for each input that has no default."""
    declared = recipes.parse_mapping(recipes.read_text(name), where=name).get("inputs") or {}
    return {key: "somewhere" for key, default in declared.items() if default is None}
