"""What a reward model learns from: every row accounted for, and what the intervals draw."""

import json

import pytest

from trivium.config import Reward, Split
from trivium.errors import UserError
from trivium.models.load import new_reward_model
from trivium.stages.preflight import data_figures
from trivium.stages.reward import load_data
from trivium.stages.reward_report import heldout_figures, labeler_figures

TOPICS = [
    *("apples", "bread", "chess", "dust", "elms", "frogs", "glass", "hats", "ink", "jazz"),
    *("kites", "lamps", "moss", "nuts", "owls", "pears", "quilts", "rain", "salt", "trains"),
]

STORY = "the fox who went over the hill to see what there was to see, and found a lantern there, "

SETTINGS = {
    "split": Split(heldout_fraction=0.0),
    "max_prompt_tokens": 128,
    "accept_affected": True,
}


@pytest.fixture(scope="module")
def reward(model_folder, cpu):
    return new_reward_model(str(model_folder()), cpu, seed=5)


def ranking(name: str, topic: str, ranks=(2, 1, 3), *, labeler: str = "lee", answer: str = "No."):
    texts = [answer, f"Yes, {topic}.", "?"]
    return {
        "id": name,
        "prompt": [{"role": "user", "content": f"Tell me about {topic}."}],
        "completions": [{"text": t, "rank": r} for t, r in zip(texts, ranks, strict=True)],
        "labeler": labeler,
    }


def load(reward, folder, rows, heldout, **changes):
    demonstrations = [
        {"id": "short", "prompt": "Say yes.", "completion": "Yes."},
        {"id": "endless", "prompt": "Say yes.", "completion": "yes " * 100},
    ]
    files = {"rankings": rows, "demonstrations": demonstrations}
    files |= {} if heldout is None else {"heldout": heldout}
    for name, content in files.items():
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(lines)
    cfg = Reward(
        model="none",
        **{name: str(folder / f"{name}.jsonl") for name in files},
        max_response_tokens=32,
        **SETTINGS | changes,
    )
    return load_data(cfg, reward)


def test_every_row_is_kept_cut_or_dropped_by_name(reward, tmp_path):
    rows = [
        ranking("good", "apples"),
        ranking("tied", "bread", (1, 1, 1)),
        ranking("cut", "chess", answer="word " * 60),
        ranking("endless", "dust " * 80),
        ranking("seen", "apples", labeler="new"),
        ranking("fresh", "elms", labeler="new"),
        ranking("fresh and tied", "frogs", (2, 2, 2), labeler="new"),
        ranking("after a tie", "bread", labeler="new"),  # nobody trains on that prompt
        ranking("long", STORY + "ink"),
        ranking("nearly seen", STORY + "jazz", labeler="new"),
    ]
    heldout = [ranking("a", "glass"), ranking("b", "hats", (1, 1, 1))]
    heldout += [ranking("in the other file", "kites", labeler="new")]
    data = load(reward, tmp_path, rows, heldout, heldout_labelers=("new",))
    assert data.train.ids == ["good", "cut", "long"]
    assert (data.report.kept, data.report.truncated) == (1, ("cut", "long"))
    long, tied = "too long", "all answers tied"
    assert data.report.dropped == (("tied", tied), ("endless", long))
    found = {
        name: (one.kept, one.truncated, one.dropped) for name, one in data.other_reports.items()
    }
    seen = tuple((name, "its prompt is trained on") for name in ("seen", "nearly seen"))
    assert found == {
        "heldout": (1, (), (("b", tied),)),
        "heldout_labelers": (3, (), (("fresh and tied", tied), *seen)),
        "demonstrations": (1, (), (("endless", long),)),
    }
    assert data.strangers.ids == ["fresh", "after a tie", "in the other file"]
    assert data.heldout.ids == ["a"]


def test_what_the_split_leaves_out_is_accounted_for(reward, tmp_path):
    """Two prompts alike for all but their ends; the split puts one on each side."""
    rows = [ranking(f"near {topic}", STORY + topic) for topic in TOPICS]
    rows += [ranking(topic, topic) for topic in TOPICS]
    data = load(reward, tmp_path, rows, None, split=Split(heldout_fraction=0.3),
                max_prompt_tokens=400)  # fmt: skip
    figures = data_figures(data.report, data.other_reports)
    assert figures["left_out"] > 0
    near = [row for row in data.heldout.ids if row.startswith("near")]
    assert 0 < len(near) < len(TOPICS)
    assert figures["left_out"] == len(TOPICS) - len(near)
    assert all(
        name.startswith("near ") for name in (e["row"] for e in figures["left_out_examples"])
    )
    assert figures["kept"] + len(data.heldout) + figures["left_out"] == len(rows)


def test_ties_beyond_one_in_a_hundred_need_acceptance(reward, tmp_path):
    rows = [ranking("good", "apples"), ranking("tied", "bread", (1, 1, 1))]
    with pytest.raises(UserError, match=r"1 dropped of 2 .*tied"):
        load(reward, tmp_path, rows, [ranking("a", "glass")], accept_affected=False)


def test_margins_need_scores(reward, tmp_path):
    rows = [ranking(topic, topic) for topic in TOPICS]
    with pytest.raises(UserError, match=r"use_margins: no ranking of .*rankings\.jsonl that"):
        load(reward, tmp_path, rows, None, use_margins=True)
    for row in rows[:3]:
        for number, completion in enumerate(row["completions"]):
            completion["score"] = -float(number)
    data = load(reward, tmp_path, rows, None, use_margins=True)
    assert sum(scores == [0.0, -1.0, -2.0] for scores in data.train.scores) == 3


def test_labelers_who_rank_a_prompt_again_make_no_interval_narrower(reward, cpu, tmp_path):
    """Each held-out ranking three times, by three labelers: as many prompts, the same intervals."""
    orders = [(2, 1, 3), (1, 2, 3), (3, 2, 1), (1, 3, 2)]
    once = [ranking(f"{topic}", topic, orders[i % 4]) for i, topic in enumerate(TOPICS) if i]
    thrice = [{**row, "labeler": who} for who in ("lee", "kim", "ann") for row in once]
    train = [ranking("train", TOPICS[0])]
    one, three = (load(reward, tmp_path, train, rows).heldout for rows in (once, thrice))
    assert (len(one), len(three)) == (19, 57)
    figures, again = (heldout_figures(reward, part, cpu, seed=0) for part in (one, three))
    for name in ("accuracy", "longer_wins", "prompts"):
        assert again[name] == figures[name]
    assert (again["rankings"], again["pairs"]) == (57, 3 * figures["pairs"])
    assert figures["accuracy"]["low"] < figures["accuracy"]["high"]
    for gap, same in zip(figures["by_rank_gap"], again["by_rank_gap"], strict=True):
        assert same == gap | {"pairs": 3 * gap["pairs"]}
    figures, again = (labeler_figures(reward, part, cpu, seed=0) for part in (one, three))
    assert again["accuracy"] == figures["accuracy"]
