"""The real program, over HTTP: killed -9 while people submit, a full disk, a stop while importing.

What a browser does when the server is gone is done here too: the submit is kept and sent again,
under the same id, until it is confirmed.
"""

import json
import random
import resource
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import site_process
from labeler import COOKIE, JSON, Sheet, filled, read_sheet

from trivium.labels import LabelLine, Message, Prompt
from trivium.labels.line import LINE_FORMAT
from trivium.store import adding, journal, maintenance, records
from trivium.store.database import close_store, open_store, reading, writing
from trivium.store.schema import labels, tasks
from trivium.store.settings import read_settings

LABELERS = 8
NEED = 2


@dataclass
class Project:
    """A store on the disk, with people in it, and the server that serves it."""

    db: str
    journal: Path
    cookies: list[str] = field(default_factory=list)
    site: site_process.Site | None = None

    def fill(self, count: int) -> None:
        """People, and sets of three answers for each of two of them."""
        store = open_store(self.db, journal=self.journal)
        with writing(store) as connection:
            rules = read_settings(connection)
            for number in range(count):
                asked = Message(role="user", content=f"Question {number}?")
                prompt = Prompt(id=f"p{number}", prompt=[asked])
                texts = [adding.NewAnswer(f"Answer {n} to {number}.") for n in range(3)]
                adding.add_task(connection, prompt, texts, rules, need=NEED)
        self.cookies = [site_process.join(store, f"labeler-{n}") for n in range(LABELERS)]
        close_store(store)

    def start(self) -> None:
        port = self.site.port if self.site else 0
        self.site = site_process.start(db=self.db, journal=self.journal, port=port)

    def client(self, number: int) -> httpx.Client:
        return httpx.Client(
            base_url=self.site.url,
            cookies={COOKIE: self.cookies[number]},
            follow_redirects=True,
            trust_env=False,
            timeout=30,
        )


@pytest.fixture
def project(new_url, tmp_path):
    """A project whose server is killed at the end."""
    made = Project(db=new_url("labels"), journal=tmp_path / "labels.journal.jsonl")
    yield made
    if made.site:
        made.site.kill()


def patiently(ask, over: threading.Event):
    """An answer, however often the server is gone meanwhile; None: it is over."""
    while not over.is_set():
        try:
            answer = ask()
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        assert answer.status_code == 200, answer.text
        return answer
    return None


def work(project: Project, number: int, acknowledged: list[str], over: threading.Event) -> None:
    """Rank without pause; note what the server says it has saved."""
    rng = random.Random(number)
    with project.client(number) as client:
        while not over.is_set():
            page = patiently(lambda: client.get("/next?kind=rank"), over)
            sheet = page and read_sheet(page.url.path, page.text)
            if sheet is None:
                return
            form = filled(sheet, {letter: rng.randint(1, 3) for letter in sheet.answers})
            url = f"{sheet.path}/ranking"
            # Even when it is over, what is in the outbox goes out: `never` is never set.
            never = threading.Event()
            patiently(lambda u=url, f=form: client.post(u, data=f, headers=JSON), never)
            acknowledged.append(sheet.submission_id)


@pytest.mark.parametrize(
    ("submits", "kills"), [(40, 3), pytest.param(500, 30, marks=pytest.mark.load)]
)
def test_killed_at_random_moments_every_acknowledged_label_is_there_once(project, submits, kills):
    rng = random.Random(submits)
    project.fill(submits)
    project.start()
    acknowledged: list[str] = []
    over = threading.Event()
    threads = [
        threading.Thread(target=work, args=(project, number, acknowledged, over))
        for number in range(LABELERS)
    ]
    for thread in threads:
        thread.start()
    for kill in range(1, kills + 1):
        while len(acknowledged) < submits * kill // (kills + 1):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.1))
        project.site.kill()
        project.start()
    while len(acknowledged) < submits:
        time.sleep(0.005)
    over.set()
    for thread in threads:
        thread.join(60)
    project.site.kill()
    check(project, acknowledged)


def check(project: Project, acknowledged: list[str]) -> None:
    """After one more start: all that was acknowledged, once, in the database and the journal."""
    # Before a start mends anything: what was acknowledged is in the journal already.
    synced = {json.loads(line)["submission_id"] for _, line in journal.scan(project.journal)}
    assert set(acknowledged) <= synced
    store = open_store(project.db, journal=project.journal)
    with reading(store) as connection:
        rows = connection.execute(labels.select()).all()
        needs = connection.execute(tasks.select()).all()
    stored = Counter(row.submission_id for row in rows)
    journaled = Counter(
        json.loads(line)["submission_id"] for line in project.journal.read_bytes().splitlines()
    )
    report = maintenance.verify(store)
    close_store(store)
    assert len(set(acknowledged)) == len(acknowledged)
    assert Counter(acknowledged) == stored == journaled
    assert report.good
    assert all(task.done <= task.taken <= task.need for task in needs)
    counted = Counter(row.task_id for row in rows if row.counted)
    assert {task.id: task.done for task in needs} == {task.id: counted[task.id] for task in needs}
    assert len({(row.task_id, row.person_id) for row in rows}) == len(rows)


def a_sheet(client: httpx.Client) -> Sheet:
    page = client.get("/next?kind=rank")
    return read_sheet(page.url.path, page.text)


def submit(client: httpx.Client, sheet: Sheet) -> httpx.Response:
    form = filled(sheet, dict.fromkeys(sheet.answers, 1))
    return client.post(f"{sheet.path}/ranking", data=form, headers=JSON)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_full_disk_refuses_politely_and_loses_nothing(project):
    """The running server is given a limit on file sizes, as if the disk were full, then none."""
    project.fill(4)
    project.start()
    pid, free = project.site.process.pid, resource.RLIM_INFINITY
    with project.client(0) as client:
        first = a_sheet(client)
        assert submit(client, first).status_code == 200
        sheet = a_sheet(client)
        wal = project.journal.with_name("labels.db-wal")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, free))
        refused = submit(client, sheet)
        assert (refused.status_code, "no room on the disk" in refused.json()["problem"]) == (
            507,
            True,
        )
        seen = client.get(sheet.path)
        assert (seen.status_code, sheet.prompt in seen.text) == (200, True), "reading goes on"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (free, free))
        assert submit(client, sheet).status_code == 200
        assert submit(client, sheet).status_code == 200, "sent twice"
    project.site.kill()
    check(project, [first.submission_id, sheet.submission_id])


def test_no_room_for_the_journal_is_not_called_saved(project):
    """The database has room, the journal has none: the label is kept, the browser asks again."""
    project.fill(4)
    store = open_store(project.db, journal=project.journal)
    long = {"submission_id": "long", "kind": "demonstration", "completion": "word " * 400_000}
    asked = {"id": "long", "prompt": [{"role": "user", "content": "Write a lot."}]}
    line = LabelLine.model_validate({"format": LINE_FORMAT, **asked, **long})
    with writing(store) as connection:
        stored = records.insert_lines(connection, [line])
    journal.append(store.journal, stored, since=0)
    close_store(store)
    project.start()
    pid, free = project.site.process.pid, resource.RLIM_INFINITY
    with project.client(0) as client:
        sheet = a_sheet(client)
        # So large a journal that the same limit leaves the database's log room.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (project.journal.stat().st_size + 100, free))
        refused = submit(client, sheet)
        assert refused.status_code == 507
        assert "not saved yet" in refused.json()["problem"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (free, free))
        assert submit(client, sheet).status_code == 200
    project.site.kill()
    check(project, ["long", sheet.submission_id])


def import_rows(count: int, folder: Path, *, broken: int | None = None) -> Path:
    """Candidates to rank, of 3 KB each; one line may be broken."""
    path = folder / "candidates.jsonl"
    with path.open("w") as file:
        for number in range(count):
            answers = [{"text": f"{n} {'word ' * 200}"} for n in range(3)]
            row = {"id": f"i{number}", "prompt": f"Import {number}?", "completions": answers}
            file.write("{\n" if number == broken else json.dumps(row) + "\n")
    return path


def counts(project: Project) -> tuple[int, int]:
    """Tasks, and answers whose task isn't there or lacks some."""
    store = open_store(project.db, journal=project.journal)
    with reading(store) as connection:
        found = connection.execute(tasks.select()).all()
        per_task = Counter(row.task_id for row in connection.execute(adding.answers.select()))
    close_store(store)
    return len(found), sum(per_task[task.id] != 3 for task in found)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "SIGINT"])
def test_an_import_that_is_stopped_leaves_whole_tasks_and_goes_on(project, tmp_path, how):
    project.fill(0)
    file = import_rows(800, tmp_path)
    where = ["--db", project.db, "--journal", str(project.journal)]
    words = site_process.command("import", str(file), *where)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    hear = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    environment = site_process.environment()
    with subprocess.Popen(words, env=environment, **pipes, **hear) as process:
        while counts(project)[0] == 0 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(getattr(signal, how))
        out, error = process.communicate(timeout=30)
    assert process.returncode != 0, out
    assert "Traceback" not in error
    stopped_at, torn = counts(project)
    assert 0 < stopped_at < 800
    assert torn == 0
    done = subprocess.run(words, env=environment, **pipes, check=True, timeout=120)
    assert f"new: 0 prompts, {800 - stopped_at} sets" in done.stdout
    assert counts(project) == (800, 0)


def test_a_broken_file_is_named_by_its_line(project, tmp_path):
    project.fill(0)
    file = import_rows(120, tmp_path, broken=110)
    where = ["--db", project.db, "--journal", str(project.journal)]
    words = site_process.command("import", str(file), *where)
    done = subprocess.run(
        words,
        env=site_process.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{file}:111" in done.stderr
    _, torn = counts(project)
    assert torn == 0
