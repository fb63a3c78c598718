"""Pretraining text of a stage: no page of it quotes what the stage is measured on."""

import json
from dataclasses import replace

import pytest

from trivium.config import PPO, SFT, Sampling, Split
from trivium.errors import UserError
from trivium.models import load_policy
from trivium.stages import ppo_setup, sft
from trivium.stages.preflight import data_figures

ANSWER = "The ferryman takes no coin from her because she once rowed him over when he was ill"
PROMPT = "Tell me in one or two plain words why the old ferryman never takes a coin from her"
PAGES = ["Frogs like water.", f"Heard today: {ANSWER}!", f"A riddle. {PROMPT.upper()}?", "Owls."]
SMALL = Sampling(max_prompt_tokens=128, max_response_tokens=128)


@pytest.fixture
def files(tmp_path):
    rows = {
        "train": [{"prompt": f"Say {n}.", "completion": n} for n in ("one", "two", "three")],
        "heldout": [{"id": "riddle", "prompt": PROMPT, "completion": ANSWER}],
        "web": [{"text": text} for text in PAGES],
    }
    for name, content in rows.items():
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    return {name: str(tmp_path / f"{name}.jsonl") for name in rows}


@pytest.fixture(scope="module")
def policy(model_folder, cpu):
    return load_policy(str(model_folder()), cpu)


def of_sft(files) -> SFT:
    return SFT(model="m", demonstrations=files["train"], heldout=files["heldout"],
               pretraining=files["web"], sampling=SMALL)  # fmt: skip


def of_ppo(files) -> PPO:
    return PPO(policy="p", reward=("m:f",), prompts=files["train"], heldout=files["heldout"],
               pretraining=files["web"], ptx_coef=1.0, ptx_tokens_per_example=8,
               sampling=SMALL)  # fmt: skip


@pytest.mark.parametrize("stage", ["sft", "ppo"])
def test_pages_that_quote_a_held_out_row_are_left_out_and_accounted_for(stage, files, policy):
    data = (
        sft.load_data(of_sft(files), policy)
        if stage == "sft"
        else ppo_setup.load_data(of_ppo(files), policy)
    )
    assert data.stream is not None
    read = policy.codec.tokenizer.decode(data.stream.take(40).tokens).lower()
    assert "frogs" in read
    assert "owls" in read
    assert "riddle" not in read
    assert ("ferryman" in read) == (stage == "ppo")
    figures = data_figures(data.report, data.parts())
    web = figures["pretraining"]
    # PPO does not look at held-out answers, so only SFT has anything against the first page.
    quoting = [PAGES[1], PAGES[2]] if stage == "sft" else [PAGES[2]]
    assert (web["kept"], web["left_out"]) == (4 - len(quoting), len(quoting))
    assert [one["row"] for one in web["left_out_examples"]] == [repr(t[:30]) for t in quoting]
    assert figures["heldout"]["kept"] == 1


def test_without_held_out_rows_all_of_the_text_is_read(files, policy):
    whole = SFT(model="m", demonstrations=files["train"], split=Split(heldout_fraction=0.0),
                pretraining=files["web"], sampling=SMALL)  # fmt: skip
    data = sft.load_data(whole, policy)
    assert data.stream is not None
    data.stream.take(4)
    assert data.parts()["pretraining"].kept == len(PAGES)


def test_a_stream_goes_on_where_it_was_with_the_same_account(files, policy):
    """Left-out pages are no part of the cursor, and are counted again when they are skipped."""

    def fresh():
        data = ppo_setup.load_data(of_ppo(files), policy)
        assert data.stream is not None
        return data, data.stream

    data, stream = fresh()
    stream.take(20)
    state = json.loads(json.dumps(stream.state()))
    wanted = stream.take(20).tokens.tolist()
    again, other = fresh()
    other.load(state)
    assert other.take(20).tokens.tolist() == wanted
    assert again.parts()["pretraining"].as_dict() == data.parts()["pretraining"].as_dict()


def test_an_example_longer_than_the_context_is_refused(files, policy):
    """256 positions."""
    longest = replace(of_ppo(files), ptx_tokens_per_example=256)
    assert ppo_setup.load_data(longest, policy).stream is not None
    with pytest.raises(UserError, match=r"ptx_tokens_per_example: .*256 tokens, got 257"):
        ppo_setup.load_data(replace(longest, ptx_tokens_per_example=257), policy)
