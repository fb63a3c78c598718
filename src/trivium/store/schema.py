"""The tables, as SQLAlchemy sees them. The migrations make them; a test holds the two together.

Times are whole milliseconds since 1970, UTC. JSON is kept as text, so that both databases give back
the bytes that were stored. Rows of `labels` and `events` are never changed nor deleted: triggers in
the migrations see to it.
"""

from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

AnyRow: TypeAlias = Any
"""A row of whatever columns were asked for: its columns are its attributes."""

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)

people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, unique=True),  # none: known from imported labels only, can't sign in
    Column("alias", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("passphrase", Text),  # argon2id
    Column("daily_cap", Integer),
    Column("created_ms", BigInteger, nullable=False),
)

invites = Table(
    "invites",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("name", Text),
    Column("daily_cap", Integer),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", ForeignKey("people.id")),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Column("person_id", ForeignKey("people.id")),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("lifetime_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
)

intake_keys = Table(
    "intake_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("org_id", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # of all the fields below
    Column("key", Text, nullable=False),
    Column("messages", Text, nullable=False),
    Column("author_id", Text),
    Column("org_id", Text),
    Column("source", Text),
    Column("text_hash", String(64), nullable=False, index=True),
    Column("prefix_hash", String(64), index=True),  # none: shorter than the prefix
    Column("side", String(16), nullable=False),
    Column("taken_in", Boolean, nullable=False),  # through intake: caps count these
    Column("pii", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index(
        "ix_prompts_author",
        "author_id",
        sqlite_where=text("taken_in"),
        postgresql_where=text("taken_in"),
    ),
    Index(
        "ix_prompts_org", "org_id", sqlite_where=text("taken_in"), postgresql_where=text("taken_in")
    ),
    Index("ix_prompts_key", "key"),
)

OPEN = "status = 'open' AND taken < need"
tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("prompt_id", ForeignKey("prompts.id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("need", Integer, nullable=False),
    Column("taken", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("skips", Integer, nullable=False),
    Column("priority", Integer, nullable=False),  # lower comes first
    Column("screening", Text),  # ranks of the known answer
    Column("created_ms", BigInteger, nullable=False),
    CheckConstraint("taken >= 0 AND done >= 0 AND need >= 0", name="counts"),
    Index(
        "ix_tasks_open",
        "kind",
        "priority",
        "id",
        sqlite_where=text(OPEN),
        postgresql_where=text(OPEN),
    ),
    Index("ix_tasks_status", "status", "kind"),
)

answers = Table(
    "answers",
    metadata,
    Column("task_id", ForeignKey("tasks.id"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("key", Text),
    Column("text", Text, nullable=False),
    Column("model", Text),
    Column("person_id", ForeignKey("people.id")),  # a demonstration among the answers
    Index(
        "ix_answers_person",
        "person_id",
        "task_id",
        sqlite_where=text("person_id IS NOT NULL"),
        postgresql_where=text("person_id IS NOT NULL"),
    ),
)

LIVE = "state = 'live'"
assignments = Table(
    "assignments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("person_id", ForeignKey("people.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("answer_order", Text, nullable=False),
    Column("question_version", Text, nullable=False),
    Column("leased_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    UniqueConstraint("task_id", "person_id"),
    Index(
        "ix_assignments_live", "expires_ms", sqlite_where=text(LIVE), postgresql_where=text(LIVE)
    ),
    Index("ix_assignments_mine", "person_id", sqlite_where=text(LIVE), postgresql_where=text(LIVE)),
)

drafts = Table(
    "drafts",
    metadata,
    Column("assignment_id", ForeignKey("assignments.id"), primary_key=True),
    Column("body", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("submission_id", Text, nullable=False, unique=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False, index=True),
    Column("person_id", ForeignKey("people.id")),
    Column("assignment_id", ForeignKey("assignments.id"), index=True),
    Column("kind", String(16), nullable=False),
    Column("skipped", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("supersedes", ForeignKey("labels.id"), unique=True),
    Column("saved_ms", BigInteger),
    Column("body", Text, nullable=False),
    Index("ix_labels_person_saved", "person_id", "saved_ms"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("person_id", ForeignKey("people.id")),
    Column("action", Text, nullable=False),
    Column("task_id", ForeignKey("tasks.id"), index=True),
    Column("details", Text, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

questions = Table(
    "questions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Text, nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
