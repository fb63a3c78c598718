"""A hundred labelers at once: how long "next task" and "submit" take, while nothing else happens
and while a file of 30 MB is imported.

    python benchmarks/labeling_load.py [--postgres] [--tasks N] [--labelers N] [--seconds S]

The program itself is measured, over HTTP, with labelers who think for 3 to 9 seconds and whose
page saves a draft meanwhile. Server, database, labelers and import share this machine. "next" is
the request and its redirect up to the last byte of the task's page; "submit" ends with the answer
"saved", so the label is in the database and in the journal, synced. Afterwards every acknowledged
label is looked for in both. Exit code 1 if a target is missed.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import local_postgres
import site_process
from labeler import COOKIE, JSON, Sheet, filled, read_sheet

from trivium.labels import Message, Prompt
from trivium.store import adding, maintenance
from trivium.store.database import Store, close_store, open_store, reading, writing
from trivium.store.schema import labels
from trivium.store.settings import read_settings

RESULTS = Path(__file__).parent / "results"
THINK_SECONDS = (3.0, 9.0)
TARGET_MS = {"next": 100.0, "submit": 150.0}
BATCH = 1000
JOURNAL, INCOMING = "labels.journal.jsonl", "candidates.jsonl"
WORDS = (
    "sea",
    "rain",
    "salt",
    "stone",
    "river",
    "tree",
    "leaf",
    "wind",
    "light",
    "slow",
    "old",
    "under",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request."""

    what: str
    at: float
    seconds: float


@dataclass
class Tally:
    """What the labelers saw."""

    samples: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)


def answers(rng: random.Random) -> list[str]:
    """Four to nine answers of some forty words."""
    return [" ".join(rng.choices(WORDS, k=rng.randint(20, 60))) for _ in range(rng.randint(4, 9))]


def fill(store: Store, count: int) -> None:
    """Sets of answers to rank."""
    rng = random.Random(0)
    for start in range(0, count, BATCH):
        with writing(store) as connection:
            rules = read_settings(connection)
            made: list[adding.NewTask] = []
            for number in range(start, min(start + BATCH, count)):
                asked = Message(role="user", content=f"Question {number}: {rng.choice(WORDS)}?")
                prompt = Prompt(id=f"prompt-{number}", prompt=[asked])
                texts = [adding.NewAnswer(text, model="model") for text in answers(rng)]
                made.append(adding.new_task(prompt, texts, rules))
            adding.add_tasks(connection, made)


def write_import(path: Path, megabytes: float) -> None:
    """More of them, as a file."""
    rng = random.Random(1)
    with path.open("w") as file:
        number = 0
        while file.tell() < megabytes * 1e6:
            row = {"id": f"new-{number}", "prompt": f"New {number}?", "completions": answers(rng)}
            file.write(json.dumps(row) + "\n")
            number += 1


async def labeler(number: int, url: str, cookie: str, tally: Tally, over: asyncio.Event) -> None:
    """One person: next, think, save a draft, think, submit."""
    rng = random.Random(number)
    await asyncio.sleep(rng.uniform(0, THINK_SECONDS[1]))  # they don't all begin at once
    async with httpx.AsyncClient(
        base_url=url, cookies={COOKIE: cookie}, follow_redirects=True, trust_env=False, timeout=60
    ) as client:
        while not over.is_set():
            page = await timed(tally, "next", client.get("/next?kind=rank"))
            sheet = page and read_sheet(page.url.path, page.text)
            if not sheet:
                tally.errors.append(f"next: {page and page.text[:200]}")
                continue
            thinking = rng.uniform(*THINK_SECONDS)
            ranks = {letter: rng.randint(1, len(sheet.answers)) for letter in sheet.answers}
            form = filled(sheet, ranks)
            await asyncio.sleep(thinking / 2)
            await timed(tally, "draft", save_draft(client, sheet, form))
            await asyncio.sleep(thinking / 2)
            send = client.post(f"{sheet.path}/ranking", data=form, headers=JSON)
            if await timed(tally, "submit", send):
                tally.acknowledged.append(sheet.submission_id)


def save_draft(client: httpx.AsyncClient, sheet: Sheet, form: dict[str, str]) -> Any:
    """What the page does as one types."""
    body = {name: [value] for name, value in form.items() if name not in sheet.hidden}
    headers = {"X-CSRF-Token": sheet.hidden["token"], **JSON}
    draft = {"sequence": time.time_ns() // 1_000_000, "body": body}
    return client.put(f"{sheet.path}/draft", json=draft, headers=headers)


async def timed(tally: Tally, what: str, request: Any) -> httpx.Response | None:
    """The answer, if it is a good one; its time, or the error, goes into the tally."""
    start = time.perf_counter()
    try:
        answer = await request
    except httpx.HTTPError as error:
        tally.errors.append(f"{what}: {type(error).__name__}: {error}")
        return None
    tally.samples.append(Sample(what, start, time.perf_counter() - start))
    if answer.status_code != 200:
        tally.errors.append(f"{what}: {answer.status_code}: {answer.text[:200]}")
        return None
    return answer


async def work(
    url: str, cookies: list[str], tally: Tally, seconds: float, importing: list[str]
) -> tuple[float, float, float]:
    """Let everybody work; the moments when the quiet part, the import and its end began."""
    over = asyncio.Event()
    people = [
        asyncio.create_task(labeler(number, url, cookie, tally, over))
        for number, cookie in enumerate(cookies)
    ]
    await asyncio.sleep(2 * THINK_SECONDS[1])  # until everybody is at it
    quiet = time.perf_counter()
    await asyncio.sleep(seconds)
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *importing, env=site_process.environment(), stdout=subprocess.DEVNULL
    )
    if await process.wait():
        tally.errors.append("the import failed")
    ended = time.perf_counter()
    over.set()
    await asyncio.gather(*people)
    return quiet, begun, ended


def figures(samples: list[Sample], start: float, end: float) -> dict[str, dict[str, float]]:
    """Milliseconds by kind of request, of those that began in a span of time."""
    found: dict[str, dict[str, float]] = {}
    for what in ("next", "draft", "submit"):
        times = sorted(1000 * s.seconds for s in samples if s.what == what and start <= s.at < end)
        at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        found[what] = {"requests": len(times)} | {
            name: round(times[max(0, math.ceil(part * len(times)) - 1)], 1)
            for name, part in at.items()
            if times
        }
    return found


def lost(store: Store, acknowledged: list[str]) -> list[str]:
    """What is wrong with the labels afterwards."""
    with reading(store) as connection:
        rows = connection.execute(labels.select()).all()
    stored = Counter(row.submission_id for row in rows)
    wrong = [f"lost: {name}" for name in acknowledged if stored[name] != 1]
    report = maintenance.verify(store)
    twice = len(rows) - len({(row.task_id, row.person_id) for row in rows})
    wrong += [] if report.good else [f"journal and database differ: {report}"]
    return wrong + ([f"{twice} labels twice by the same person"] if twice else [])


def machine() -> dict[str, Any]:
    """On what it was measured."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "cpu": models[0].partition(": ")[2] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def prepare(options: argparse.Namespace, db: str, folder: Path) -> list[str]:
    """Fill a store, write the file that is imported later, let people in; their cookies."""
    store = open_store(db, journal=folder / JOURNAL)
    start = time.perf_counter()
    fill(store, options.tasks)
    cookies = [site_process.join(store, f"labeler-{n:03}") for n in range(options.labelers)]
    close_store(store)
    write_import(folder / INCOMING, options.megabytes)
    print(f"{options.tasks} tasks put in, in {time.perf_counter() - start:.0f} s", flush=True)
    return cookies


def measure(
    options: argparse.Namespace, db: str, folder: Path, cookies: list[str]
) -> dict[str, Any]:
    """Serve the store, let people work, look for what they did."""
    result: dict[str, Any] = {"database": db.partition(":")[0], **machine()}
    journal, where = folder / JOURNAL, ["--db", db, "--journal", str(folder / JOURNAL)]
    words = site_process.command("import", str(folder / INCOMING), *where)
    tally = Tally()
    site = site_process.start(db=db, journal=journal)
    try:
        moments = asyncio.run(work(site.url, cookies, tally, options.seconds, words))
    finally:
        site.stop()
    quiet, begun, ended = moments
    store = open_store(db, journal=journal)
    wrong = tally.errors + lost(store, tally.acknowledged)
    close_store(store)
    return result | {
        "tasks": options.tasks,
        "labelers": options.labelers,
        "think_seconds": THINK_SECONDS,
        "import_megabytes": options.megabytes,
        "import_seconds": round(ended - begun, 1),
        "labels": len(tally.acknowledged),
        "errors": wrong[:20],
        "milliseconds": {
            "quiet": figures(tally.samples, quiet, begun),
            "importing": figures(tally.samples, begun, ended),
        },
    }


def report(result: dict[str, Any]) -> bool:
    """Print the table; whether every target is met."""
    good = not result["errors"]
    print(f"{result['database']}, {result['cpu']}, {result['cores']} cores, {result['date']}")
    print(f"{'':22}{'requests':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}  target p95")
    for phase, kinds in result["milliseconds"].items():
        for what, row in kinds.items():
            target = TARGET_MS.get(what)
            ok = target is None or row.get("p95", math.inf) <= target
            good &= ok
            said = "" if target is None else f"{target:.0f} {'met' if ok else 'MISSED'}"
            cells = "".join(
                f"{row.get(name, math.nan):9.1f}" for name in ("p50", "p95", "p99", "max")
            )
            print(f"{phase + ', ' + what:22}{row['requests']:>9}{cells}  {said}")
    print(
        f"{result['labels']} labels acknowledged, {len(result['errors'])} errors; "
        f"{result['import_megabytes']} MB imported in {result['import_seconds']} s"
    )
    for error in result["errors"]:
        print(f"  {error}")
    return good


def main() -> int:
    """Measure; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Measure the labeling site under load.")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server, not SQLite")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--labelers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60, help="length of the quiet part")
    parser.add_argument("--megabytes", type=float, default=30, help="size of the imported file")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trivium-load-") as name:
        folder = Path(name)
        sqlite = nullcontext(f"sqlite:///{folder / 'labels.db'}")
        try:
            with local_postgres.running() if options.postgres else sqlite as db:
                result = measure(options, db, folder, prepare(options, db, folder))
        except local_postgres.NoServer as error:
            print(error, file=sys.stderr)
            return 2
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"labeling_load_{result['database']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if report(result) else 1


if __name__ == "__main__":
    sys.exit(main())
