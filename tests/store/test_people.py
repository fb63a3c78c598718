"""Who may come in: invites used once, passphrases, sessions, keys; no secret in the database."""

import pytest

from trivium.errors import UserError
from trivium.store import events, keys, leases, passphrases, people
from trivium.store.database import reading
from trivium.store.leases import NoTask
from trivium.store.schema import metadata

DAY = 24 * 60 * 60_000
GOOD = "correct horse battery"


def test_an_invite_is_used_once(bench):
    invite = people.create_invite(bench.store, role=people.Role.REVIEWER, daily_cap=9)
    assert people.find_invite(bench.store, invite.token).role is people.Role.REVIEWER
    joined = people.accept_invite(bench.store, invite.token, name=" ann ", passphrase=GOOD)
    assert (joined.name, joined.role, joined.daily_cap) == ("ann", people.Role.REVIEWER, 9)
    assert joined.alias not in ("", "ann"), "exports don't give the login name away"
    assert people.find_invite(bench.store, invite.token) is None
    with pytest.raises(UserError, match="invite: used, too old or mistyped"):
        people.accept_invite(bench.store, invite.token, name="bob", passphrase=GOOD)


def test_an_invite_grows_old_and_can_be_revoked(bench):
    old = people.create_invite(bench.store, role=people.Role.LABELER, days=2, now_ms=0)
    assert people.find_invite(bench.store, old.token, now_ms=2 * DAY - 1)
    assert people.find_invite(bench.store, old.token, now_ms=2 * DAY) is None
    new = people.create_invite(bench.store, role=people.Role.LABELER)
    [listed] = people.open_invites(bench.store)
    people.revoke_invite(bench.store, listed.id, by=None)
    assert people.find_invite(bench.store, new.token) is None
    assert people.open_invites(bench.store) == []


@pytest.mark.parametrize(
    ("name", "passphrase", "said"),
    [
        ("", GOOD, "name: expected 1 to 100"),
        ("x" * 101, GOOD, "name: expected 1 to 100"),
        ("ann", "eleven char", "passphrase: expected 12 to 1024 characters, got 11"),
        ("taken", GOOD, "name: 'taken' is taken"),
    ],
)
def test_a_bad_name_or_passphrase_leaves_the_invite_good(bench, name, passphrase, said):
    bench.join("taken")
    invite = people.create_invite(bench.store, role=people.Role.LABELER)
    with pytest.raises(UserError, match=said):
        people.accept_invite(bench.store, invite.token, name=name, passphrase=passphrase)
    assert people.find_invite(bench.store, invite.token) is not None


def test_sign_in(bench):
    ann = bench.join("ann")
    assert people.sign_in(bench.store, "ann", GOOD) == ann
    assert people.sign_in(bench.store, "ann", GOOD + "!") is None
    assert people.sign_in(bench.store, "nobody", GOOD) is None
    assert people.sign_in(bench.store, "ann", "\ud800") is None
    people.change_passphrase(bench.store, ann.id, old=GOOD, new="another long one")
    assert people.sign_in(bench.store, "ann", GOOD) is None
    assert people.sign_in(bench.store, "ann", "another long one") == ann
    with pytest.raises(UserError, match="doesn't fit"):
        people.change_passphrase(bench.store, ann.id, old=GOOD, new="yet another one")


def test_an_unknown_name_costs_a_check_of_a_passphrase_too(bench, monkeypatch):
    checked = []
    real = passphrases.fits
    monkeypatch.setattr(passphrases, "fits", lambda *args: checked.append(args) or real(*args))
    people.sign_in(bench.store, "nobody", GOOD)
    assert len(checked) == 1


def test_sessions_end_when_they_should(bench):
    ann = bench.person()
    token = people.open_session(bench.store, ann, hours=1, now_ms=0)
    hour = 60 * 60_000
    session = people.find_session(bench.store, token, now_ms=hour - 1)
    assert session.person.id == ann
    assert people.find_session(bench.store, token, now_ms=2 * hour - 2), "use keeps it alive"
    assert people.find_session(bench.store, token, now_ms=4 * hour) is None
    assert people.find_session(bench.store, token + "x") is None

    token = people.open_session(bench.store, ann)
    people.end_session(bench.store, token)
    assert people.find_session(bench.store, token) is None


def test_two_sessions_have_different_csrf_tokens(bench):
    ann = bench.person()
    tokens = [people.open_session(bench.store, ann) for _ in range(2)]
    first, second = (people.find_session(bench.store, token).csrf for token in tokens)
    assert first != second
    assert first not in tokens


def test_keeping_somebody_out_ends_their_sessions_and_returns_their_tasks(bench):
    admin, ann = bench.join("root", people.Role.ADMIN), bench.person()
    token = people.open_session(bench.store, ann)
    task = bench.task()
    bench.lease(ann)
    people.set_active(bench.store, ann, False, by=admin.id)
    assert people.find_session(bench.store, token) is None
    assert bench.row(task).taken == 0
    with pytest.raises(UserError, match="not active any more"):
        bench.lease(ann)
    people.set_active(bench.store, ann, True, by=admin.id)
    assert not isinstance(bench.lease(ann), NoTask)


def test_a_new_role_ends_sessions_and_the_last_admin_stays(bench):
    admin = bench.join("root", people.Role.ADMIN)
    assert people.has_admin(bench.store)
    with pytest.raises(UserError, match="the last admin stays one"):
        people.set_role(bench.store, admin.id, people.Role.LABELER, by=admin.id)
    with pytest.raises(UserError, match="the last admin stays one"):
        people.set_active(bench.store, admin.id, False, by=admin.id)
    ann = bench.person()
    token = people.open_session(bench.store, ann)
    people.set_role(bench.store, ann, people.Role.REVIEWER, by=admin.id)
    assert people.find_session(bench.store, token) is None
    assert people.find_person(bench.store, ann).role is people.Role.REVIEWER


def test_a_persons_cap_wins_over_the_projects(bench):
    bench.rules(daily_cap=5)
    ann = bench.person()
    people.set_daily_cap(bench.store, ann, 1, by=None)
    for _ in range(2):
        bench.task()
    bench.rank(ann, bench.lease(ann))
    assert bench.lease(ann) == NoTask(reason="daily_cap")
    people.set_daily_cap(bench.store, ann, None, by=None)
    assert bench.lease(ann).daily_cap == 5
    with pytest.raises(UserError, match="expected 1 or more"):
        people.set_daily_cap(bench.store, ann, 0, by=None)


def test_intake_keys(bench):
    key = keys.mint_intake_key(bench.store, name="site", org_id="org")
    found = keys.find_intake_key(bench.store, key)
    assert (found.name, found.org_id) == ("site", "org")
    assert keys.all_intake_keys(bench.store) == [found]
    keys.revoke_intake_key(bench.store, found.id, by=None)
    assert keys.find_intake_key(bench.store, key) is None
    assert keys.all_intake_keys(bench.store) == []


def test_no_secret_is_in_the_database(bench):
    invite = people.create_invite(bench.store, role=people.Role.LABELER)
    joined = people.accept_invite(bench.store, invite.token, name="ann", passphrase=GOOD)
    token = people.open_session(bench.store, joined.id)
    key = keys.mint_intake_key(bench.store, name="site")
    csrf = people.find_session(bench.store, token).csrf
    folder = bench.store.journal.parent
    content = b"".join(file.read_bytes() for file in folder.glob("labels.db*"))  # SQLite's
    with reading(bench.store) as connection:
        for table in metadata.sorted_tables:
            content += repr(connection.execute(table.select()).all()).encode()
    assert b"$argon2id$" in content
    for secret in (invite.token, GOOD, token, key, csrf):
        assert secret.encode() not in content


def test_events_tell_who_did_what(bench):
    admin = bench.join("root", people.Role.ADMIN)
    ann = bench.person()
    people.set_daily_cap(bench.store, ann, 3, by=admin.id)
    newest, *older = events.list_events(bench.store)
    assert (newest.person, newest.action) == ("root", "daily cap")
    assert newest.details == {"person": ann, "cap": 3}
    assert events.list_events(bench.store, before=newest.id, limit=1) == older[:1]
    task = bench.task()
    bench.skip(ann, bench.lease(ann))
    assert events.list_events(bench.store, limit=1)[0].task_id == task
    assert leases.sweep(bench.store, now_ms=bench.now_ms) == 0
