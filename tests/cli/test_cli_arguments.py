"""Flags and files become the config that was asked for."""

from pathlib import Path

import pytest

from trivium import arguments, cli
from trivium.config import PPO, SFT, Adam, Evaluate, Sampling
from trivium.errors import UserError


def parsed(name: str, *words: str):
    """The config and the out folder of a stage's command."""
    call = arguments.parse(name, cli.COMMANDS[name], list(words))
    assert call is not None
    return call.args


def test_flags_alone():
    config, out = parsed("sft", "--out", "runs/a", "--model", "m", "--demonstrations", "d")
    assert config == SFT(model="m", demonstrations="d")
    assert out == Path("runs/a")


def test_nested_flags_lists_and_booleans():
    words = ["--out", "o", "--policy", "p", "--reward", "r", "len=0.1*my.module:f"]
    words += ["--prompts", "q", "--sampling.temperature", "0.7", "--adam.betas", "0.8", "0.9"]
    config, _ = parsed("ppo", *words, "--no-whiten-advantages", "--missing-eos-score", "None")
    assert config == PPO(
        policy="p",
        reward=("r", "len=0.1*my.module:f"),
        prompts="q",
        sampling=Sampling(temperature=0.7),
        adam=Adam(betas=(0.8, 0.9)),
        whiten_advantages=False,
        missing_eos_score=None,
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: m\ndemonstrations: d\nlr: 1e-4\nsampling: {temperature: 0.5}\n")
    return str(path)


def test_required_fields_may_come_from_the_file_alone(file):
    config, _ = parsed("sft", "--out", "o", "--config", file)
    assert config == SFT(model="m", demonstrations="d", lr=1e-4, sampling=Sampling(temperature=0.5))


def test_flags_override_the_file(file):
    config, _ = parsed(
        "sft", "--out", "o", f"--config={file}", "--lr", "2e-4", "--sampling.max-prompt-tokens", "9"
    )
    assert config.lr == 2e-4
    assert config.sampling == Sampling(temperature=0.5, max_prompt_tokens=9)


def test_a_file_that_lacks_a_required_field_is_completed_by_a_flag(tmp_path):
    path = tmp_path / "half.yaml"
    path.write_text("stage: sft\nmodel: m\n")
    with pytest.raises(UserError, match="missing --demonstrations"):
        parsed("sft", "--out", "o", "--config", str(path))
    config, _ = parsed("sft", "--out", "o", "--config", str(path), "--demonstrations", "d")
    assert config == SFT(model="m", demonstrations="d")


def test_the_models_of_evaluate_come_from_flags_or_from_the_file(tmp_path):
    path = tmp_path / "evaluate.yaml"
    path.write_text("prompts: q\nmodels: {sft: a, ppo: b}\n")
    config, _ = parsed("evaluate", "--out", "o", "--config", str(path))
    assert config == Evaluate(prompts="q", models={"sft": "a", "ppo": "b"})
    words = ["--out", "o", "--config", str(path), "--models", "sft", "c", "other", "d"]
    config, _ = parsed("evaluate", *words)
    assert config.models == {"sft": "c", "other": "d"}


def test_values_of_the_file_are_checked(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("model: m\ndemonstrations: d\nlr: -1\n")
    with pytest.raises(UserError, match="lr: expected >= 0"):
        parsed("sft", "--out", "o", "--config", str(path))


def test_underscores_are_accepted_in_flags():
    words = ["--out", "o", "--model", "m", "--demonstrations", "d", "--num_epochs", "5"]
    config, _ = parsed("sft", *words)
    assert config.num_epochs == 5


def test_a_command_is_bound_but_not_made():
    call = arguments.parse("run", cli.COMMANDS["run"], ["r", "--out", "o", "--set", "a.b=1", "c=2"])
    assert call.args == ("r",)
    assert call.keywords["set"] == ("a.b=1", "c=2")
    assert call.keywords["seed"] is None


def test_options_are_read_from_the_help():
    help_of_data_check = arguments.help_text("data check", cli.COMMANDS["data check"])
    assert arguments.options(help_of_data_check) == ["--help", "--kind"]
    sft = arguments.options(arguments.help_text("sft", SFT))
    assert {"--out", "--config", "--lr", "--adam.betas", "--accept-affected"} <= set(sft)
    assert "--no-accept-affected" in sft
