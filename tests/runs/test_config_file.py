"""Configs in YAML: nothing is lost on the way, and nothing wrong gets through."""

from dataclasses import MISSING, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.config import PPO, SFT, Adam, Collect, Evaluate, Pretrain, Reward, Sampling, Split
from trivium.errors import UserError
from trivium.runs.config_file import build, dump, load, parse_mapping, to_dict

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
shares = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-30, 1e6)
counts = st.integers(1, 10**9)
maybe = st.none() | texts

samplings = st.builds(
    Sampling, temperature=positive, max_prompt_tokens=counts, max_response_tokens=counts
)
adams = st.builds(
    Adam,
    betas=st.tuples(shares, shares),
    eps=positive,
    weight_decay=positive,
    max_grad_norm=positive,
)
splits = st.builds(Split, heldout_fraction=shares, salt=texts)
CONFIGS = {
    "pretrain": st.builds(Pretrain, num_steps=counts, lr=positive, adam=adams, seed=st.integers()),
    "sft": st.builds(
        SFT,
        model=texts,
        demonstrations=texts,
        heldout=maybe,
        split=splits,
        pretraining_fraction=shares,
        loss_on_prompts=st.booleans(),
        lr=positive,
        sampling=samplings,
        adam=adams,
        compute_dtype=st.sampled_from(["auto", "float32", "bfloat16"]),
        checkpoint_every=st.none() | counts,
    ),
    "reward": st.builds(
        Reward,
        model=texts,
        rankings=texts,
        demonstrations=texts,
        heldout_labelers=st.lists(texts, max_size=3).map(tuple),
    ),
    "ppo": st.builds(
        PPO,
        policy=texts,
        reward=st.lists(texts, min_size=1, max_size=3).map(tuple),
        prompts=texts,
        kl_coef=positive,
        kl_target_nats_per_response=st.none() | positive,
        missing_eos_score=st.none() | st.floats(-1e6, 1e6),
        estimator=st.sampled_from(["gae", "batch_mean", "bandit"]),
        sampling=samplings,
    ),
    "collect": st.builds(
        Collect,
        models=st.lists(texts, min_size=1).map(tuple),
        prompts=texts,
        overlap=shares,
        labelers=maybe,
    ),
    "evaluate": st.builds(
        Evaluate,
        models=st.dictionaries(texts, texts, max_size=3).map(lambda m: m | {"sft": "x"}),
        prompts=texts,
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_config_written_and_read_is_the_same(tmp_path_factory, kind, data):
    cfg = data.draw(CONFIGS[kind])
    path = tmp_path_factory.getbasetemp() / f"{kind}.yaml"
    path.write_text(dump(kind, cfg), encoding="utf-8")
    assert load(path) == (kind, cfg)


def test_every_field_is_written_defaults_included():
    values = parse_mapping(dump("sft", SFT(model="m", demonstrations="d")), where="here")
    assert values["stage"] == "sft"
    assert values["sampling"] == {
        "temperature": 1.0,
        "max_prompt_tokens": 1024,
        "max_response_tokens": 1024,
    }
    assert values["adam"]["betas"] == [0.9, 0.95]
    assert set(values) - {"stage"} == set(SFT.__dataclass_fields__)


def sft(text: str) -> SFT:
    values = parse_mapping("model: m\ndemonstrations: d\n" + text, where="x.yaml")
    return build(SFT, values, where="x.yaml")


@pytest.mark.parametrize("number", ["1e-5", "1.0e-5", "0.00001", "'1e-5'", "1.e-5"])
def test_numbers_as_people_write_them(number):
    assert sft(f"lr: {number}").lr == 0.00001


def test_a_whole_number_does_for_a_number():
    lr = sft("lr: 1").lr
    assert (lr, type(lr)) == (1.0, float)


def test_nested_configs_may_be_given_in_part():
    cfg = sft("sampling: {temperature: 0.7}\nadam: {betas: [0.5, 0.6]}")
    assert cfg.sampling == Sampling(temperature=0.7)
    assert cfg.adam == Adam(betas=(0.5, 0.6))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rat: 1", ["x.yaml: learning_rat: unknown key"]),
        ("nun_epochs: 1", ["x.yaml: nun_epochs: unknown key", "'num_epochs'"]),
        ("sampling: {temprature: 1}", ["sampling.temprature: unknown key", "'temperature'"]),
        ("num_epochs: two", ["x.yaml: num_epochs: expected a whole number, got 'two' (str)"]),
        ("num_epochs: 2.0", ["num_epochs: expected a whole number, got 2.0 (float)"]),
        ("num_epochs: true", ["num_epochs: expected a whole number, got True (bool)"]),
        ("num_epochs:", ["num_epochs: expected a whole number, got None"]),
        ("lr: fast", ["lr: expected a number, got 'fast' (str)"]),
        ("lr: true", ["lr: expected a number, got True (bool)"]),
        ("lr: .nan", ["lr: expected a number, got 'NaN'"]),
        ("lr: nan", ["lr: expected a number, got 'NaN'"]),
        ("heldout: 3", ["heldout: expected text, got 3 (int)"]),
        ("loss_on_prompts: 1", ["loss_on_prompts: expected true or false, got 1 (int)"]),
        ("compute_dtype: bfloat61", ["expected one of auto, float32, bfloat16", "'bfloat16'?"]),
        ("compute_dtype: [auto]", ["compute_dtype: expected one of auto"]),
        ("adam: {betas: [0.9]}", ["adam.betas: expected a list of 2, each a number, got [0.9]"]),
        ("adam: {betas: [0.9, x]}", ["adam.betas[1]: expected a number, got 'x'"]),
        ("adam: 3", ["adam: expected names and values, got 3"]),
        ("dropout: 1.5", ["x.yaml: dropout: expected a number in [0, 1), got 1.5"]),
        ("examples_per_backward: 7", ["x.yaml: examples_per_backward", "examples_per_step = 32"]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text, expected):
    with pytest.raises(UserError) as error:
        sft(text)
    for part in expected:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"klpen_target": 0.01}, "klpen_target: is for loss = klpen"),
        ({"value_from": "rm", "value": "shared"}, "value_from: is for value = separate"),
        ({"klpen_target": 0.01, "loss": "klpen"}, None),
        ({"value_from": "rm"}, None),
    ],
)
def test_a_knob_that_would_turn_nothing_is_refused(fields, expected):
    values = {"policy": "p", "prompts": "x", "reward": ["r"], **fields}
    if expected is None:
        build(PPO, values, where="here")
        return
    with pytest.raises(UserError, match=expected):
        build(PPO, values, where="here")


NOTHING = {
    SFT: ("examples_per_step", "select_samples", "num_epochs"),
    Reward: ("prompts_per_step", "max_prompt_tokens", "max_response_tokens"),
    PPO: ("episodes_per_step", "heldout_episodes", "ptx_tokens_per_example", "klpen_target",
          "ptx_examples_per_backward", "kl_target_nats_per_response", "scale_rewards_episodes"),
    Collect: ("num_prompts",),
    Evaluate: ("num_prompts", "pretraining_examples", "prompts_per_batch"),
    Pretrain: ("checkpoint_every", "sequences_per_step", "context_tokens"),
}  # fmt: skip
NEEDED = {"model": "m", "demonstrations": "d", "rankings": "r", "policy": "p", "prompts": "x",
          "reward": ["r"]}  # fmt: skip


@pytest.mark.parametrize(("cls", "name"), [(c, name) for c in NOTHING for name in NOTHING[c]])
def test_none_of_something_is_refused_before_it_divides_anything(cls, name):
    """Each would stop a run later, with a division by zero or an empty batch."""
    needed = {field.name for field in fields(cls) if field.default is MISSING}
    values = {key: value for key, value in NEEDED.items() if key in needed}
    if cls in (Evaluate, Collect):
        values["models"] = {"sft": "m"} if cls is Evaluate else ["m"]
    build(cls, values, where="here")
    with pytest.raises(UserError, match=name):
        build(cls, {**values, name: 0}, where="here")


def test_missing_fields_are_named():
    with pytest.raises(UserError, match="here: model, demonstrations: missing; SFT"):
        build(SFT, {}, where="here")


def test_lists_and_dicts_of_text():
    values = {"policy": "p", "prompts": "x", "reward": "only one"}
    with pytest.raises(UserError, match=r"reward: expected a list, each text, got 'only one'"):
        build(PPO, values, where="here")
    with pytest.raises(UserError, match=r"models\.sft: expected text, got 1"):
        build(Evaluate, {"models": {"sft": 1}, "prompts": "x"}, where="here")
    with pytest.raises(UserError, match="names that are text"):
        build(Evaluate, {"models": {1: "a"}, "prompts": "x"}, where="here")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: m", "no `stage`; write"),
        ("stage: stf\nmodel: m", "unknown stage 'stf'; did you mean 'sft'?"),
        ("stage: [sft]", "unknown stage"),
        ("stage: sft\nmodel: [", r":2: .*expected YAML|:3: .*expected YAML"),
        ("stage: sft\nmodel: a\nmodel: b", ":3: 'model' is there already, in line 2"),
        ("stage: sft\nadam:\n  eps: 1\n  eps: 2", ":4: 'eps' is there already, in line 3"),
        ("just words", "expected YAML with `name: value` on each line"),
        ("", "expected YAML with `name: value` on each line"),
        ("? [a, b]\n: 1", "expected YAML|no `stage`|not YAML|unhashable"),
    ],
)
def test_files_that_are_no_config(tmp_path, text, expected):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=expected) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: not found; check the path$"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes\.yaml: cannot be read"):
        load(tmp_path / "bytes.yaml")


def test_to_dict_is_fit_for_json():
    assert to_dict(PPO(policy="p", reward=("a", "b"), prompts="x"))["reward"] == ["a", "b"]


@pytest.mark.parametrize("salt", ["\x85", "\u2028", "é", "a\nb"])
def test_characters_that_yaml_takes_for_line_breaks_survive(salt, tmp_path):
    cfg = SFT(model="m", demonstrations="d", split=Split(salt=salt))
    (tmp_path / "c.yaml").write_text(dump("sft", cfg))
    assert load(tmp_path / "c.yaml") == ("sft", cfg)
