"""An evaluation on prompts that its models were trained on is refused, however far back it lies."""

import json
from pathlib import Path

import pytest

from trivium.cli import main
from trivium.config import PPO, SFT, Evaluate, Pretrain, Reward, Split, StageConfig
from trivium.data import read_prompts, read_texts, split
from trivium.errors import UserError
from trivium.runs import config_file
from trivium.stages.lineage import check_heldout, count_quoted, run_of, trainings

KINDS = {SFT: "sft", Reward: "reward", PPO: "ppo", Pretrain: "pretrain", Evaluate: "evaluate"}
LONG = "Please read the following text with care and then say in one sentence what it is about: "


def made(folder: Path, config: StageConfig) -> str:
    """A run directory as far as its config goes; returns its path."""
    folder.mkdir(parents=True)
    config_file.save(folder / "config.yaml", KINDS[type(config)], config)
    return str(folder)


def rows(path: Path, texts: list[str], **columns: object) -> str:
    made_of = [{"id": text[:40], "prompt": text, **columns} for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in made_of))
    return str(path)


def ranked(path: Path, labelers: dict[str, str]) -> str:
    answers = [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]
    lines = [
        {"prompt": [{"role": "user", "content": text}], "completions": answers, "labeler": who}
        for text, who in labelers.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    return str(path)


@pytest.fixture
def world(tmp_path):
    """The runs of a whole recipe, each on prompts of its own."""
    base = made(tmp_path / "base", Pretrain())
    demonstrations = rows(tmp_path / "d.jsonl", ["shown one", "shown two"], completion="Yes.")
    whole = Split(heldout_fraction=0.0)
    sft = made(tmp_path / "sft", SFT(model=base, demonstrations=demonstrations, split=whole))
    rankings = ranked(tmp_path / "r.jsonl", {"ranked": "lee", "ranked by a stranger": "new"})
    cfg = Reward(model=sft, rankings=rankings, demonstrations=demonstrations, split=whole,
                 heldout_labelers=("new",))  # fmt: skip
    reward = made(tmp_path / "reward", cfg)
    prompts = rows(tmp_path / "p.jsonl", ["practised", LONG + "frogs like the water"])
    cfg = PPO(policy=sft, reward=(f"rm=1*{reward}", "len=0.1*pkg.module:function"),
              prompts=prompts, split=whole)  # fmt: skip
    made(tmp_path / "ppo", cfg)
    return tmp_path


def check(world: Path, texts: list[str], places: list[str], *, accept: bool = False):
    said: list[str] = []
    heldout = list(read_prompts(rows(world / "held.jsonl", texts)))
    found = check_heldout(heldout, "held.jsonl", places, accept=accept, say=said.append)
    return found, said


@pytest.mark.parametrize(
    ("leak", "run", "reason"),
    [
        ("Practised", "ppo", "same prompt"),
        (LONG + "frogs like the ponds", "ppo", "near-duplicate"),
        ("shown two", "sft", "same prompt"),
        ("ranked", "reward", "same prompt"),
    ],
)
def test_a_leak_into_any_run_behind_a_model_is_refused(world, leak, run, reason):
    with pytest.raises(UserError) as error:
        check(world, ["something new", leak], [str(world / "ppo")])
    said = str(error.value)
    assert "\n" not in said
    assert str(world / run) in said
    assert "1 of these 2" in said
    assert reason in said
    assert "--accept-overlap" in said


def test_the_judge_counts_and_its_strangers_do_not(world):
    with pytest.raises(UserError, match="reward was trained on 1 of these 1"):
        check(world, ["ranked"], [str(world / "reward")])
    check(world, ["ranked by a stranger"], [str(world / "reward")])
    check(world, ["ranked"], [str(world / "sft")])  # SFT has never seen the rankings


def test_no_overlap_and_accepted_overlap_are_told_apart(world):
    place = str(world / "ppo")
    files = {str(world / name) for name in ("d.jsonl", "r.jsonl", "p.jsonl")}
    found, said = check(world, ["something new"], [place])
    assert (found.rows, set(found.checked), found.unknown, said) == (0, files, (), [])
    found, _ = check(world, ["ranked", "practised", "new"], [place], accept=True)
    assert found.rows == 2


def test_what_a_run_held_out_itself_may_be_measured_on(world):
    """The other side of the same split, and not one prompt of this side."""
    texts = [f"question number {i}" for i in range(60)]
    source = rows(world / "all.jsonl", texts)
    how = Split(heldout_fraction=0.3, salt="s")
    place = made(world / "own", PPO(policy="p", reward=("m:f",), prompts=source, split=how))
    train, heldout = split(read_prompts(source), salt="s", heldout_fraction=0.3)
    found, _ = check(world, [row.prompt[0].content for row in heldout], [place])
    assert found.rows == 0
    found, _ = check(world, [row.prompt[0].content for row in train], [place], accept=True)
    assert found.rows == len(train) > 20
    given = PPO(policy="p", reward=("m:f",), prompts=source, heldout="h.jsonl", split=how)
    found, _ = check(world, texts, [made(world / "given", given)], accept=True)
    assert found.rows == 60  # with a held-out file the whole source is trained on


def test_training_data_that_are_gone_are_named_not_forgotten(world):
    (world / "p.jsonl").unlink()
    found, (said,) = check(world, ["practised"], [str(world / "ppo")])
    assert str(world / "p.jsonl") in said
    assert found.unknown
    assert str(world / "p.jsonl") not in found.checked


def test_places_that_belong_to_a_run_and_that_do_not(world):
    run = world / "sft"
    for place in ("", "model", "checkpoints/step-000004/policy"):
        assert run_of(str(run / place)) == run
    for place in ("owner/name", str(world / "nowhere"), str(world)):
        assert run_of(place) is None
    places = [str(world / "ppo"), str(run / "model"), str(run), "owner/name"]
    assert sorted(Path(one.run).name for one in trainings(places)) == ["ppo", "reward", "sft"]


def test_the_command_refuses_before_any_model_is_loaded(world, capsys):
    """These runs hold no model at all, so with the overlap accepted that is the next complaint."""
    cfg = Evaluate(models={"sft": str(world / "sft")}, reward=str(world / "reward"),
                   prompts=rows(world / "h.jsonl", ["shown one"]))  # fmt: skip
    config = str(Path(made(world / "cfg", cfg)) / "config.yaml")
    words = ["evaluate", "--config", config, "--out"]
    assert main([*words, str(world / "out")]) == 2
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("trivium: ")]
    assert len(said) == 1
    assert "trained on 1 of these 1" in said[0]
    assert main([*words, str(world / "out2"), "--accept-overlap"]) == 2
    assert "no model there" in capsys.readouterr().err


@pytest.mark.parametrize(("pages_read", "expected"), [(None, 2), (3, 1)])
def test_held_out_rows_that_stand_in_text_that_was_read_are_counted(tmp_path, pages_read, expected):
    """Not what the run itself kept out of the text, nor what lies behind the last page it read."""
    tales = [f"{LONG}the {who} went out to sea in a boat made of straw" for who in ("fox", "hen")]
    own, far = f"{LONG}the owl stayed at home with a book", f"{LONG}the cow sang all the night"
    web = tmp_path / "w.jsonl"
    pages = ["hello", f"a page with: {tales[0]}", own, "bye", f"the end: {far}", tales[0]]
    web.write_text("".join(json.dumps({"text": page}) + "\n" for page in pages))
    cfg = SFT(model="m", demonstrations=rows(tmp_path / "d.jsonl", ["shown"], completion="Yes."),
              heldout=rows(tmp_path / "h.jsonl", [own], completion="No."),
              pretraining=str(web))  # fmt: skip
    run = Path(made(tmp_path / "sft", cfg))
    if pages_read is not None:
        counts = {"data": {"pretraining": {"kept": pages_read - 1, "left_out": 1}}}
        (run / "summary.json").write_text(json.dumps(counts))
    said: list[str] = []
    heldout = list(read_prompts(rows(tmp_path / "e.jsonl", [*tales, own, far])))
    found = count_quoted(heldout, [str(run)], say=said.append)
    assert found.as_dict() == {"rows": expected, "of": 4, "checked": [str(web)]}
    assert f"quotes {expected} of 4" in said[0]
    assert tales[0][:40] in said[0]
    assert count_quoted(list(read_texts(web))[:1], [str(run)], say=said.append).rows == 0
    web.unlink()
    assert count_quoted(heldout, [str(run)], say=said.append).checked == ()
    assert str(web) in said[-1]
    plain = PPO(policy="p", reward=("m:f",), prompts="p", pretraining=str(web))  # no ptx: not read
    place = made(tmp_path / "ppo", plain)
    assert count_quoted(heldout, [place], say=said.append).checked == ()
    assert len(said) == 2
