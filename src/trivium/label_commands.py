"""What each `trivium label` command does, as functions: their parameters are arguments and flags.

The rooms `store` and `web` are imported inside the functions: they need the extra `label`.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trivium.errors import UserError, install

if TYPE_CHECKING:
    from trivium.store.database import Store

DB = "sqlite:///labels.db"
EXTRA = {
    *("alembic", "argon2", "evalica", "fastapi", "markdown_it", "multipart", "nh3", "pandas"),
    *("python_multipart", "sqlalchemy", "starlette", "uvicorn"),
}
"""Modules that the extra `label` brings."""
Format = Literal["native", "rankings", "demonstrations", "parquet", "trl", "argilla", "labelstudio"]
Input = Literal["auto", "prompts", "candidates"] | Format


def label_serve(
    *, db: str = DB, journal: Path | None = None, host: str = "127.0.0.1", port: int = 8000
) -> None:
    """Open the labeling site; the first start prints the link by which the admin comes in.

    Args:
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
        host: Address to listen on; any but 127.0.0.1 needs a secret in TRIVIUM_SECRET.
        port: Port to listen on.
    """
    with explained():
        from trivium.web.server import serve

        secret = os.environ.get("TRIVIUM_SECRET", None)
        serve(db=db, journal=journal, host=host, port=port, secret=secret)


def label_invite(
    *,
    db: str = DB,
    journal: Path | None = None,
    role: Literal["labeler", "reviewer", "admin"] = "labeler",
    name: str | None = None,
    daily_cap: int | None = None,
    days: float = 7,
    site: str = "http://127.0.0.1:8000",
) -> None:
    """Print a link by which one person comes in, once.

    Args:
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
        role: labeler labels; reviewer also sees everybody's labels; admin may do everything.
        name: Whom the link is for, to be shown to them; None: they choose a name.
        daily_cap: Labels a day; None: as the project's settings say.
        days: How long the link is good.
        site: Where the site is, as the person's browser sees it.
    """
    with opened(db, journal, create=False) as store:
        from trivium.store import people

        chosen = people.Role(role)
        invite = people.create_invite(store, role=chosen, name=name, daily_cap=daily_cap, days=days)
    print(f"{site.rstrip('/')}/invite/{invite.token}")


def label_import(
    file: Path,
    /,
    *,
    db: str = DB,
    journal: Path | None = None,
    format: Input = "auto",
    demonstrations: bool = True,
    pii: Literal["scrub", "none"] | None = None,
    consent: bool = False,
) -> None:
    """Bring in prompts, answers to be ranked, or finished labels; labeling may go on meanwhile.

    Args:
        file: A file, or the folder of an Argilla dataset.
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
        format: What the file holds; auto looks at its name and first row.
        demonstrations: Ask for a demonstration of each bare prompt.
        pii: scrub: take personal data out of every prompt, or take none in; none: take prompts in
            as they are; None: as the project's rules say, for people's prompts always.
        consent: The authors agreed, where a row of one doesn't say so itself.
    """
    if not file.exists():  # before a database is made for it
        raise UserError(f"{file}: not found; check the path")
    with opened(db, journal) as store:
        from trivium.store import transfer
        from trivium.store.incoming import Manner

        manner = Manner(scrubbing=pii, consent=consent, ask=demonstrations)
        done = transfer.import_file(store, file, format=format, manner=manner)
    print(
        f"new: {_many(done.prompts, 'prompt')}, {_many(done.tasks, 'set')} of answers to rank, "
        f"{_many(done.labels, 'label')}; known already: {done.known}"
    )
    for why, count in done.left_out.items():
        print(f"left out: {count} {why}")
    for kind, count in done.pii.items():
        print(f"taken out: {count} {kind}")
    if done.unsearched:
        print(
            f"not searched for personal data: {done.unsearched} without an author "
            f"(the extra pii does; {install('pii')})"
        )


def label_export(
    *, out: Path, db: str = DB, journal: Path | None = None, format: Format = "native"
) -> None:
    """Write the labels to a file, for training or for another program.

    Args:
        out: File to write; for argilla a folder.
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
        format: native holds everything; the others hold the labels that stand.
    """
    with opened(db, journal, create=False, mend=False) as store:
        from trivium.store import transfer

        count = transfer.export_labels(store, out, format)
    print(f"wrote {_many(count, 'row')} to {out}")


def label_verify(*, db: str = DB, journal: Path | None = None, mend: bool = False) -> None:
    """Hold the journal against the database, label by label; exit code 2 if they differ.

    Args:
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
        mend: Put back what either lacks, as each start of the site does, and say how much.
    """
    with opened(db, journal, create=False, mend=False) as store:
        from trivium.store import maintenance, reconcile

        where = store.journal
        if mend:
            print(f"{where}: {reconcile.reconcile(store, whole=True)}")
        found = maintenance.verify(store)
    if found.good:
        print(f"{_many(found.labels, 'label')}, each once in the database and once in {where}")
        return
    if not where.exists():
        raise UserError(
            f"{where}: not found, and the database has {found.labels} labels; say where the "
            "journal lies with --journal, or write it again with --mend"
        )
    lacking = {
        "missing in the journal": found.missing_in_journal,
        "missing in the database": found.missing_in_database,
    }
    wrong = lacking | {
        "different": found.different,
        "repeated in the journal": found.repeated,
        "unreadable lines of the journal": found.unreadable,
    }
    said = "; ".join(f"{len(ids)} {what} (first: {ids[0]})" for what, ids in wrong.items() if ids)
    what = "keep both files, and look at the journal's lines"
    if any(lacking.values()):
        what = "keep a copy of both, then --mend puts back what is missing"
    raise UserError(f"{where}: {said}; {what}")


def label_stats(*, db: str = DB, journal: Path | None = None) -> None:
    """Print how the work stands, and how far labelers agree.

    Args:
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
    """
    import yaml

    with opened(db, journal, create=False, mend=False) as store:
        from trivium.store import statistics, tasks

        queue = asdict(tasks.queue_counts(store))
        labelers = {
            row.person.name or row.person.alias: _progress(row)
            for row in statistics.labeler_progress(store)
        }
        report = asdict(statistics.agreement(store))
    report["against_rest"] = {
        labeler: {**interval, "pairs": pairs} for labeler, interval, pairs in report["against_rest"]
    }
    figures = {"tasks": queue, "labelers": labelers, "agreement": report}
    yaml.safe_dump(_plain(figures), sys.stdout, sort_keys=False, allow_unicode=True)


def label_settings(
    *,
    db: str = DB,
    journal: Path | None = None,
    rules: Path | None = None,
    question: Path | None = None,
) -> None:
    """Print the project's rules and what is asked, after changing them where files are given.

    Args:
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
        rules: YAML file of rules to change; those that it does not name stay.
        question: YAML file of what is asked from now on: scale, flags, reasons to skip.
    """
    import yaml

    with opened(db, journal) as store:
        from trivium.store import settings

        if rules is not None:
            changed = settings.changed_settings(settings.load_settings(store), rules)
            settings.save_settings(store, changed, by=None)
        if question is not None:
            settings.save_question_file(store, question, by=None)
        shown = {
            "rules": settings.load_settings(store).model_dump(),
            "question": settings.current_question(store).model_dump(),
        }
    yaml.safe_dump(shown, sys.stdout, sort_keys=False, allow_unicode=True)


def label_backup(target: Path, /, *, db: str = DB, journal: Path | None = None) -> None:
    """Copy an SQLite database while it is in use.

    Args:
        target: File to write, not there yet.
        db: sqlite:///FILE.
        journal: File with a line for each label; None: beside the database.
    """
    with opened(db, journal, create=False, mend=False) as store:
        from trivium.store import maintenance

        maintenance.backup(store, target)
    print(f"wrote {target}")


def label_generate(
    *,
    model: tuple[str, ...],
    out: Path,
    k: str = "4..9",
    prompts: str | None = None,
    max_response_tokens: int | None = None,
    seed: int = 0,
    db: str = DB,
    journal: Path | None = None,
) -> None:
    """Let models write answers, and put them in to be ranked.

    Args:
        model: Run directories, folders or hub names; RUN:3 OTHER:1 gives RUN three of four answers.
        out: Run directory for the answers, new or empty.
        k: Answers to a prompt, drawn between the two numbers.
        prompts: File of prompts; None: those of the database that have no answers to rank yet.
        max_response_tokens: Longest answer; None: as in `trivium collect`.
        seed: Seeds K and the sampling.
        db: sqlite:///FILE or postgresql://USER@HOST/NAME.
        journal: File with a line for each label; None: beside the database.
    """
    smallest, largest = parse_k(k)
    models = weighted_models(model)
    with opened(db, journal) as store:
        from trivium.store import transfer

        if prompts is None:
            prompts = str(out.with_name(f"{out.name}-prompts.jsonl"))
            if not transfer.export_prompts(store, Path(prompts)):
                raise UserError(
                    f"{store.url}: every prompt has answers to rank; give --prompts FILE"
                )
        else:
            transfer.check_prompts(store, Path(prompts))
        from trivium.config import Collect, Sampling
        from trivium.stages import collect

        sampling = Sampling()
        if max_response_tokens is not None:
            sampling = replace(sampling, max_response_tokens=max_response_tokens)
        config = Collect(
            models=models,
            prompts=prompts,
            min_completions=smallest,
            max_completions=largest,
            sampling=sampling,
            seed=seed,
        )
        collect.run(config, out)
        done = transfer.import_answers(store, prompts=Path(prompts), answers=out / collect.ANSWERS)
    print(f"{_many(done.tasks, 'set')} of answers to rank; {done.known} were there already")


def parse_k(words: str) -> tuple[int, int]:
    """Smallest and largest K of "4..9" or "4".

    Raises:
        UserError: it is neither.
    """
    match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", words)
    if match is None or int(match[1]) < 2 or int(match[2] or match[1]) < int(match[1]):
        raise UserError(f"--k: expected a number from 2 or a range such as 4..9, got {words}")
    return int(match[1]), int(match[2] or match[1])


def weighted_models(words: tuple[str, ...]) -> tuple[str, ...]:
    """Models in turn, each as often as its weight: A:2 B is A, A, B."""
    found: list[str] = []
    for word in words:
        name, colon, weight = word.rpartition(":")
        plain = not colon or not weight.isdecimal()
        found += [word] if plain else [name] * int(weight)
    if not found:
        raise UserError("--model: expected a model with a weight above 0; give one")
    return tuple(found)


@contextmanager
def opened(
    db: str, journal: Path | None, *, create: bool = True, mend: bool = True
) -> "Iterator[Store]":
    """An open store, closed at the end; who only reads neither makes nor mends it."""
    with explained():
        from trivium.store.database import close_store, open_store

        store = open_store(db, journal=journal, create=create, mend=mend)
        try:
            yield store
        finally:
            close_store(store)


@contextmanager
def explained() -> Iterator[None]:
    """Say which extra is missing, where one is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise UserError(
            f"{error.name} isn't installed, and labeling needs it; {install('label')}"
        ) from None


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _progress(row: Any) -> dict[str, Any]:
    figures = {
        field.name: getattr(row, field.name) for field in fields(row) if field.name != "person"
    }
    return {name: value for name, value in figures.items() if value is not None}


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML can say."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
