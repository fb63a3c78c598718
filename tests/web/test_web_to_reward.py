"""From people to a reward model: ranked over HTTP, read from the store, trained, measured.

The people are three labelers of the miniature, each with taste and noise of their own. Two of them
rank the same sets; a reward model learns from them; the third, who ranked other prompts, says how
often it is right.
"""

import json
import random
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import httpx
import pytest
import site_process
from labeler import COOKIE, JSON, filled, read_sheet

from trivium.cli import main
from trivium.labels import Message, Prompt
from trivium.miniature import corpus, labelers
from trivium.miniature.kinds import KINDS
from trivium.store import adding, people
from trivium.store.database import close_store, open_store, writing
from trivium.store.settings import read_settings

SHARED, OWN = 60, 40
LONGEST = 110
"""Characters of an answer: the tiny model has 256 positions."""


def draw(rng: random.Random) -> tuple[str, list[str]]:
    """An instruction and four answers: a good one, a rude one, one to another task, a question."""
    while True:
        kind = rng.choice(KINDS)
        task, other = kind.draw(rng), kind.draw(rng)
        asked, good = kind.instruct(task, rng), kind.demonstrate(task, rng)
        rude = f"{corpus.insult(rng)} {good}"
        answers = [good, rude, kind.demonstrate(other, rng), corpus.question(rng)]
        short = max(map(len, (asked, *answers))) <= LONGEST
        if short and len(set(answers)) == len(answers):
            return asked, answers


@dataclass
class Collected:
    """What people said."""

    db: str
    journal: Path
    third: str
    """The third labeler's name in exports."""

    pairs: int
    """Untied pairs in the third labeler's rankings, counted from what they sent."""

    rankings: int


def add(db: str, journal: Path, sets: dict[str, list[str]], need: int) -> None:
    """Put sets of answers in."""
    store = open_store(db, journal=journal)
    with writing(store) as connection:
        rules = read_settings(connection)
        for asked, answers in sets.items():
            row = Prompt(id=asked[:60], prompt=[Message(role="user", content=asked)])
            adding.add_task(connection, row, [*map(adding.NewAnswer, answers)], rules, need=need)
    close_store(store)


def rank_all(site: site_process.Site, cookie: str, labeler: labelers.Labeler) -> list[list[int]]:
    """Rank whatever there is, as this labeler sees it; the ranks that were sent."""
    rng = random.Random(labeler.name)
    sent = []
    with httpx.Client(
        base_url=site.url, cookies={COOKIE: cookie}, follow_redirects=True, trust_env=False
    ) as client:
        while True:
            page = client.get("/next?kind=rank")
            sheet = read_sheet(page.url.path, page.text)
            if sheet is None:
                return sent
            ranks = labelers.rank(labeler, sheet.prompt, list(sheet.answers.values()), rng)
            form = filled(sheet, dict(zip(sheet.answers, ranks, strict=True)))
            done = client.post(f"{sheet.path}/ranking", data=form, headers=JSON)
            assert done.status_code == 200, done.text
            sent.append(ranks)


def write_some(site: site_process.Site, cookie: str, texts: list[str]) -> None:
    """Write demonstrations, by form."""
    with httpx.Client(
        base_url=site.url, cookies={COOKIE: cookie}, follow_redirects=True, trust_env=False
    ) as client:
        for text in texts:
            page = client.get("/next?kind=demonstration")
            token = page.text.partition('name="token" value="')[2].partition('"')[0]
            form = {"token": token, "completion": text}
            done = client.post(f"{page.url.path}/demonstration", data=form, headers=JSON)
            assert done.status_code == 200, done.text


@pytest.fixture
def collected(new_url, tmp_path) -> Collected:
    """A store in which three people have ranked, and one has written."""
    db, journal = new_url("labels"), tmp_path / "labels.journal.jsonl"
    rng = random.Random(0)
    drawn: dict[str, list[str]] = {}
    while len(drawn) < SHARED + OWN:
        asked, answers = draw(rng)
        drawn.setdefault(asked, answers)
    sets = list(drawn.items())
    add(db, journal, dict(sets[:SHARED]), need=2)
    store = open_store(db, journal=journal)
    prompts = [
        Prompt(id=f"write-{n}", prompt=[Message(role="user", content=draw(rng)[0])])
        for n in range(3)
    ]
    with writing(store) as connection:
        rules = read_settings(connection)
        for prompt in prompts:
            adding.add_task(connection, prompt, None, rules, need=1)
    cookies = [site_process.join(store, name) for name in ("ann", "bob", "cedar")]
    third = people.all_people(store)[-1]
    close_store(store)
    panel = labelers.panel(0)
    site = site_process.start(db=db, journal=journal)
    try:
        for cookie, labeler in zip(cookies, panel[:2], strict=False):
            assert len(rank_all(site, cookie, labeler)) == SHARED
        write_some(site, cookies[0], [draw(rng)[1][0] for _ in range(3)])
        add(db, journal, dict(sets[SHARED:]), need=1)
        sent = rank_all(site, cookies[2], panel[-1])
    finally:
        site.stop()
    assert third.name == "cedar"
    untied = sum(a != b for ranks in sent for a, b in combinations(ranks, 2))
    return Collected(db=db, journal=journal, third=third.alias, pairs=untied, rankings=len(sent))


def train(collected: Collected, model: Path, source: str, out: Path, *, epochs: int) -> dict:
    """`trivium reward` on a store or a file of labels; its summary."""
    words = ["reward", "--model", str(model), "--out", str(out), "--compute-dtype", "float32"]
    words += ["--rankings", source, "--demonstrations", source]
    words += ["--heldout-labelers", collected.third]
    words += ["--num-epochs", str(epochs), "--prompts-per-step", "8", "--lr", "3e-3"]
    words += ["--max-prompt-tokens", "120", "--max-response-tokens", "130"]
    assert main(words) == 0
    return json.loads((out / "summary.json").read_text())


def test_two_labelers_teach_a_reward_model_and_the_third_judges_it(
    collected, model_folder, tmp_path, monkeypatch, record_property
):
    monkeypatch.chdir(tmp_path)
    where = ["--db", collected.db, "--journal", str(collected.journal)]
    for format in ("native", "rankings"):
        words = ["label", "export", "--out", f"{format}.jsonl", "--format", format]
        assert main([*words, *where]) == 0
    summary = train(collected, model_folder(), "native.jsonl", Path("exported"), epochs=6)
    train(collected, model_folder(), collected.db, Path("direct"), epochs=1)

    # The store, its native export and its rankings are the same rows, for the same training.
    read = Path("rankings.jsonl").read_bytes()
    assert len(read.splitlines()) == 2 * SHARED + OWN
    for run in ("direct", "exported"):
        assert (Path(run) / "data" / "rankings.jsonl").read_bytes() == read
    assert list(Path().glob("*.journal.jsonl")) == [Path("labels.journal.jsonl")], "only read"

    # The third labeler's rankings, every one, by hand; and the model has learned what people like.
    judged = summary["heldout_labelers"]
    record_property("accuracy on the third labeler's rankings", judged["accuracy"])
    assert judged["prompts"] == collected.rankings == OWN
    assert judged["pairs"] == collected.pairs
    assert judged["accuracy"]["low"] > 0.5
    assert summary["labeler_agreement"]["pairs"] > 0
