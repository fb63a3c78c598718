"""A person's mistake costs one clear line and exit code 2, before any compute is spent."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from trivium.cli import main

pytestmark = pytest.mark.xdist_group("tiny")
PROMPT = [{"role": "user", "content": "Name a fruit."}]


def refused(capsys, *words: str) -> str:
    """The one line that a command refuses with."""
    code = main(list(words))
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2, lines
    said = [line for line in lines if line.startswith("trivium: ")]
    assert len(said) == 1, lines
    assert "Traceback" not in "\n".join(lines)
    return said[0]


def sft(tiny, out, **changes: str) -> list[str]:
    words = ["sft", "--config", str(tiny / "sft" / "config.yaml"), "--out", str(out)]
    for name, value in changes.items():
        words += [f"--{name.replace('_', '-')}", value]
    return words


def ppo(tiny, out, **changes: str) -> list[str]:
    words = ["ppo", "--config", str(tiny / "ppo" / "config.yaml"), "--out", str(out)]
    for name, value in changes.items():
        words += [f"--{name.replace('_', '-')}", value]
    return words


def rows_file(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_missing_file(tiny, tmp_path, capsys):
    said = refused(capsys, *sft(tiny, tmp_path / "o", demonstrations=str(tmp_path / "no.jsonl")))
    assert "no.jsonl" in said


def test_broken_line_names_file_and_line(tiny, tmp_path, capsys):
    path = tmp_path / "d.jsonl"
    good = json.dumps({"id": "a", "prompt": PROMPT, "completion": "Pear."})
    path.write_text(good + "\n{broken\n")
    assert "d.jsonl:2" in refused(capsys, *sft(tiny, tmp_path / "o", demonstrations=str(path)))


def test_wrong_type_names_the_field(tiny, tmp_path, capsys):
    path = rows_file(tmp_path / "d.jsonl", [{"id": "a", "prompt": PROMPT, "completion": 7}])
    said = refused(capsys, *sft(tiny, tmp_path / "o", demonstrations=path))
    assert "completion" in said
    assert "d.jsonl:1" in said


def test_empty_demonstration(tiny, tmp_path, capsys):
    path = rows_file(tmp_path / "d.jsonl", [{"id": "a", "prompt": PROMPT, "completion": " "}])
    said = refused(capsys, *sft(tiny, tmp_path / "o", demonstrations=path))
    assert "completion" in said


def reward(tiny, out, rankings: str) -> list[str]:
    config = str(tiny / "reward" / "config.yaml")
    return ["reward", "--config", config, "--out", str(out), "--rankings", rankings,
            "--heldout-labelers"]  # fmt: skip


def test_one_completion_is_no_ranking(tiny, tmp_path, capsys):
    row = {"id": "a", "prompt": PROMPT, "completions": [{"text": "Pear.", "rank": 1}]}
    said = refused(capsys, *reward(tiny, tmp_path / "o", rows_file(tmp_path / "r.jsonl", [row])))
    assert "completions" in said


def test_all_ranks_equal_leaves_nothing_to_learn(tiny, tmp_path, capsys):
    completions = [{"text": "Pear.", "rank": 1}, {"text": "Fig.", "rank": 1}]
    rows = [
        {"id": str(i), "prompt": [{"role": "user", "content": f"Fruit {i}?"}],
         "completions": completions}
        for i in range(9)
    ]  # fmt: skip
    said = refused(capsys, *reward(tiny, tmp_path / "o", rows_file(tmp_path / "r.jsonl", rows)))
    assert "tie" in said


def test_prompt_longer_than_the_context(tiny, tmp_path, capsys):
    said = refused(capsys, *sft(tiny, tmp_path / "o", **{"sampling.max_prompt_tokens": "100000"}))
    assert "context" in said


def test_demonstrations_that_are_all_too_long_name_the_flags(tiny, tmp_path, capsys):
    said = refused(capsys, *sft(tiny, tmp_path / "o", **{"sampling.max_prompt_tokens": "1"}))
    assert "longer than --sampling.max-prompt-tokens 1 or --sampling.max-response-tokens" in said


def test_unknown_key_in_a_config_file(tiny, tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text((tiny / "sft" / "config.yaml").read_text() + "num_epoch: 3\n")
    said = refused(capsys, "sft", "--config", str(path), "--out", str(tmp_path / "o"))
    assert "num_epochs" in said


def test_value_out_of_range(tiny, tmp_path, capsys):
    assert "gamma" in refused(capsys, *ppo(tiny, tmp_path / "o", gamma="1.5"))


def test_indivisible_batch_sizes(tiny, tmp_path, capsys):
    said = refused(capsys, *ppo(tiny, tmp_path / "o", episodes_per_minibatch="7"))
    assert "episodes_per_minibatch" in said
    assert "16" in said


def model_copy(tiny, target):
    shutil.copytree(tiny / "sft" / "model", target)
    (target / "trivium.json").unlink()
    return target


def test_vocabulary_larger_than_the_embedding(tiny, tmp_path, capsys):
    folder = model_copy(tiny, tmp_path / "m")
    small = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                        num_attention_heads=1, max_position_embeddings=256)  # fmt: skip
    LlamaForCausalLM(small).save_pretrained(folder)
    assert "embedding" in refused(capsys, *sft(tiny, tmp_path / "o", model=str(folder)))


def test_no_eos_in_the_tokenizer(tiny, tmp_path, capsys):
    folder = model_copy(tiny, tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    assert "EOS" in refused(capsys, *sft(tiny, tmp_path / "o", model=str(folder)))


def test_a_folder_that_is_no_model(tiny, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    said = refused(capsys, *sft(tiny, tmp_path / "o", model=str(tmp_path / "empty")))
    assert "no model" in said


def test_evaluation_set_that_overlaps_the_training_set(tiny, tmp_path, capsys):
    same = str(tiny / "pretrain" / "data" / "demonstrations.jsonl")
    said = refused(capsys, *sft(tiny, tmp_path / "o", heldout=same))
    assert "leak" in said or "overlap" in said


def test_evaluation_prompts_that_the_models_were_trained_on(tiny, tmp_path, capsys):
    """The finished run's own prompts are clean, and it says what it compared them with."""
    done = json.loads((tiny / "evaluate" / "summary.json").read_text())["trained_on"]
    names = {Path(file).name for file in done["checked"]}
    assert (done["rows"], done["unknown"]) == (0, [])
    assert names == {"demonstrations.jsonl", "rankings.jsonl", "prompts.jsonl"}
    words = ["evaluate", "--config", str(tiny / "evaluate" / "config.yaml"), "--out"]
    seen = str(tiny / "pretrain" / "data" / "prompts.jsonl")
    said = refused(capsys, *words, str(tmp_path / "o"), "--prompts", seen)
    assert "was trained on" in said
    assert "--accept-overlap" in said


def test_output_folder_that_holds_a_run(tiny, capsys):
    said = refused(capsys, *sft(tiny, tiny / "sft"))
    assert "resume" in said


REWARDS = {
    "raises": ("raise KeyError('apple')", "KeyError"),
    "hangs": ("import time; time.sleep(60)", "seconds"),
    "nan": ("return [float('nan')] * len(responses)", "finite"),
    "wrong_count": ("return [0.0]", "expected a list of"),
}


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_function_that_fails_stops_the_run(name, tiny, tmp_path, capsys, monkeypatch):
    body, expected = REWARDS[name]
    module = f"bad_reward_{name}"
    (tmp_path / f"{module}.py").write_text(f"def score(prompts, responses):\n    {body}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    words = ppo(tiny, tmp_path / "o", reward=f"{module}:score", reward_timeout_seconds="1")
    assert expected in refused(capsys, *words)
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["status"] == "failed"


def test_a_gradient_that_is_not_finite_stops_before_the_update(tiny, tmp_path, capsys):
    """A weight at infinity: the first update is refused and its batch is kept for replay."""
    folder = model_copy(tiny, tmp_path / "m")
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.fill_(1e38)
    model.save_pretrained(folder)
    said = refused(capsys, *sft(tiny, tmp_path / "o", model=str(folder)))
    assert "gradient norm" in said
    assert list((tmp_path / "o" / "replay").glob("*.safetensors"))


# --- what failed over its input leaves its folder free


def small(tiny, folder: Path, prompts: Path) -> Path:
    """Config of an evaluation of one model on two prompts, cheap as they come."""
    config = yaml.safe_load((tiny / "evaluate" / "config.yaml").read_text())
    kept = {name: config[name] for name in ("stage", "gold", "sampling")}
    models = {"sft": str(tiny / "sft")}
    file = folder / "small.yaml"
    file.write_text(
        yaml.safe_dump({**kept, "models": models, "prompts": str(prompts), "num_prompts": 2})
    )
    return file


@pytest.fixture
def prompts(tiny) -> Path:
    """The held-out prompts of the finished run."""
    return tiny / "pretrain" / "data" / "prompts_heldout.jsonl"


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def test_a_corrected_command_takes_the_folder_of_the_one_that_failed(
    tiny, prompts, tmp_path, capsys
):
    out = tmp_path / "o"
    words = ["evaluate", "--config", str(small(tiny, tmp_path, prompts)), "--out", str(out)]
    refused(capsys, *words, "--reward", str(tmp_path / "nope"))
    assert summary(out)["status"] == "failed"
    assert main([*words, "--num-prompts", "1"]) == 0
    assert summary(out)["status"] == "finished"
    assert summary(out).keys() == summary(tiny / "evaluate").keys()
    stored = yaml.safe_load((out / "config.yaml").read_text())
    assert (stored["reward"], stored["num_prompts"]) == (None, 1)
    assert "nope" not in (out / "report.html").read_text()
    assert "resume" in refused(capsys, *words)


def test_resume_goes_on_once_the_file_is_there(tiny, prompts, tmp_path, capsys):
    out, missing = tmp_path / "o", tmp_path / "p.jsonl"
    words = ["--config", str(small(tiny, tmp_path, missing)), "--out", str(out)]
    assert "p.jsonl" in refused(capsys, "evaluate", *words)
    assert "p.jsonl" in refused(capsys, "resume", str(out))
    shutil.copy(prompts, missing)
    assert main(["resume", str(out)]) == 0
    assert summary(out)["status"] == "finished"


@pytest.mark.parametrize("stage", ["sft", "reward", "ppo"])
def test_every_stage_leaves_its_folder_free(stage, tiny, tmp_path, capsys):
    """A second mistake with the same --out is told like the first."""
    out = tmp_path / "o"
    for name in ("first", "second"):
        nope = str(tmp_path / name)
        words = {
            "sft": sft(tiny, out, model=nope),
            "reward": reward(tiny, out, f"sqlite:///{nope}.db"),
            "ppo": ppo(tiny, out, reward=nope),
        }[stage]
        assert nope in refused(capsys, *words)
        assert nope in summary(out)["error"]


@pytest.mark.parametrize("way", ["again", "resume"])
def test_a_recipe_whose_first_stage_failed_can_be_corrected(way, tiny, prompts, tmp_path, capsys):
    out, missing = tmp_path / "o", tmp_path / "p.jsonl"
    fields = yaml.safe_load(small(tiny, tmp_path, missing).read_text()) | {"prompts": "{data}"}
    recipe = {"about": "one evaluation", "inputs": {"data": None}, "stages": {"evaluate": fields}}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(recipe))
    words = ["run", str(tmp_path / "one.yaml"), "--out", str(out), "--data"]
    assert "p.jsonl" in refused(capsys, *words, str(missing))
    if way == "again":
        assert main([*words, str(prompts)]) == 0
        stored = yaml.safe_load((out / "recipe.yaml").read_text())
        assert stored["stages"]["evaluate"]["prompts"] == str(prompts)
    else:
        shutil.copy(prompts, missing)
        assert main(["resume", str(out)]) == 0
    assert summary(out)["status"] == "finished"
    assert "resume" in refused(capsys, *words, str(prompts))


# --- a run that was moved


def test_a_moved_run_is_read_with_its_own_model(tiny, tmp_path, capsys):
    """Its paths count from where it was made."""
    moved = shutil.copytree(tiny / "sft", tmp_path / "moved")
    text = (moved / "config.yaml").read_text()
    assert str(tiny / "pretrain") in text
    (moved / "config.yaml").write_text(text.replace(f"model: {tiny}", "model: runs/gone"))
    assert main(["inspect", str(moved)]) == 0
    assert "trained on" in capsys.readouterr().out
    (moved / "config.yaml").write_text(text.replace(str(tiny), "runs/gone"))
    said = refused(capsys, "inspect", str(moved))
    assert "learned from runs/gone/pretrain/data/demonstrations.jsonl, which is not here" in said
    assert "where it was made" in said
