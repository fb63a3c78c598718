"""Leases: who gets what, what comes back, what counts. By hand, and as a state machine."""

import threading
from collections import Counter
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from trivium.errors import UserError
from trivium.labels import Message, Prompt
from trivium.store import leases, tasks
from trivium.store.database import close_store, reading, writing
from trivium.store.leases import NoTask
from trivium.store.schema import answers, assignments, labels
from trivium.store.schema import tasks as tasks_table
from trivium.store.settings import Settings


def test_one_task_for_one_person_at_a_time(bench):
    ann, bob = bench.person(), bench.person()
    first, second = bench.task(), bench.task()
    of_ann, of_bob = bench.lease(ann), bench.lease(bob)
    assert (of_ann.task_id, of_bob.task_id) == (first, second)
    assert bench.lease(ann).id == of_ann.id, "who asks again gets the same"
    assert bench.lease(bench.person()) == NoTask(reason="empty")


def test_three_labelers_where_three_are_needed_and_never_a_fourth(bench):
    task = bench.task(need=3)
    leased = [bench.lease(bench.person()) for _ in range(4)]
    assert [getattr(lease, "task_id", lease) for lease in leased] == [
        *[task] * 3,
        NoTask(reason="empty"),
    ]
    assert len({lease.id for lease in leased[:3]}) == 3


def test_a_labeler_never_gets_a_task_again_that_they_did(bench):
    ann = bench.person()
    bench.task(need=2)
    bench.rank(ann, bench.lease(ann))
    assert bench.lease(ann) == NoTask(reason="empty")


def test_an_expired_lease_goes_to_somebody_else(bench):
    ann, bob = bench.person(), bench.person()
    task = bench.task()
    bench.lease(ann)
    bench.later(29)
    assert bench.lease(bob) == NoTask(reason="empty")
    bench.later(2)
    assert bench.lease(bob).task_id == task
    assert bench.row(task).taken == 1


def test_a_draft_renews_the_lease_and_comes_back(bench):
    ann, bob = bench.person(), bench.person()
    bench.task()
    lease = bench.lease(ann)
    bench.later(29)
    body = {"rank.A": ["1"]}
    kept = leases.save_draft(bench.store, ann, lease.id, body, sequence=7, now_ms=bench.now_ms)
    assert kept.live
    bench.later(29)
    assert bench.lease(bob) == NoTask(reason="empty")
    assert bench.lease(ann).draft.body == body


def test_an_older_draft_never_overwrites_a_newer_one(bench):
    ann = bench.person()
    bench.task()
    lease = bench.lease(ann)
    save = lambda body, n: leases.save_draft(  # noqa: E731
        bench.store, ann, lease.id, body, sequence=n, now_ms=bench.now_ms
    )
    assert save({"x": "new"}, 2).kept
    assert not save({"x": "old"}, 1).kept
    assert leases.find_assignment(bench.store, ann, lease.id).draft.body == {"x": "new"}


def test_after_expiry_the_same_person_finds_task_order_and_draft_again(bench):
    ann = bench.person()
    bench.task(texts=[f"text {i}" for i in range(9)])
    before = bench.lease(ann)
    leases.save_draft(bench.store, ann, before.id, {"a": "b"}, sequence=1, now_ms=bench.now_ms)
    bench.later(31)
    leases.sweep(bench.store, now_ms=bench.now_ms)
    again = bench.lease(ann)
    assert (again.id, again.answers, again.draft.body) == (before.id, before.answers, {"a": "b"})


def test_a_draft_takes_an_expired_lease_up_again_only_while_a_place_is_left(bench):
    ann, bob = bench.person(), bench.person()
    task = bench.task()
    lease = bench.lease(ann)
    draft = lambda n: leases.save_draft(  # noqa: E731
        bench.store, ann, lease.id, {"n": n}, sequence=n, now_ms=bench.now_ms
    )
    bench.later(31)
    leases.sweep(bench.store, now_ms=bench.now_ms)
    assert draft(1).live
    assert bench.row(task).taken == 1
    bench.later(31)
    bench.lease(bob)
    assert (draft(2).live, draft(2).kept) == (False, True)
    assert bench.row(task).taken == 1


def test_nobody_sees_or_saves_on_anothers_desk(bench):
    ann, bob = bench.person(), bench.person()
    bench.task()
    lease = bench.lease(ann)
    assert leases.find_assignment(bench.store, bob, lease.id) is None
    assert leases.save_draft(bench.store, bob, lease.id, {}, sequence=1) is None
    assert bench.rank(bob, lease) is None
    assert not leases.give_back(bench.store, bob, lease.id)


def test_a_huge_draft_is_refused(bench):
    ann = bench.person()
    bench.task()
    lease = bench.lease(ann)
    with pytest.raises(UserError, match="expected at most 1000000 characters"):
        leases.save_draft(bench.store, ann, lease.id, {"x": "y" * 1_000_001}, sequence=1)


def test_answers_are_blind_shuffled_and_merged(bench):
    orders = set()
    bench.task(texts=["same", "b", "same", "c", "d"], need=40)
    for _ in range(40):
        lease = bench.lease(bench.person())
        assert [answer.letter for answer in lease.answers] == ["A", "B", "C", "D"]
        assert [a.key for a in lease.answers] == [a.letter for a in lease.answers]
        assert {a.text: a.copies for a in lease.answers} == {"same": 2, "b": 1, "c": 1, "d": 1}
        orders.add(tuple(answer.text for answer in lease.answers))
        assert "model" not in repr(lease)
    # 24 orders, 40 draws: fewer than 8 different ones has a chance below 1e-12.
    assert len(orders) >= 8


def test_the_daily_cap_holds_until_midnight_utc(bench):
    bench.rules(daily_cap=2)
    ann = bench.person()
    for _ in range(3):
        bench.task()
    for _ in range(2):
        bench.rank(ann, bench.lease(ann))
    assert bench.lease(ann) == NoTask(reason="daily_cap")
    bench.later(120)  # 22:13 + 2 h: the next day
    assert bench.lease(ann).done_today == 0


def test_nobody_ranks_their_own_demonstration(bench):
    ann, bob = bench.person(), bench.person()
    task = bench.task(texts=["mine", "a model's"])
    with writing(bench.store) as connection:
        connection.execute(answers.update().where(answers.c.place == 0).values(person_id=ann))
    assert bench.lease(ann) == NoTask(reason="empty")
    assert bench.lease(bob).task_id == task


def test_skips_pass_the_task_on_and_five_put_it_aside(bench):
    task = bench.task()
    for _ in range(5):
        somebody = bench.person()
        assert bench.row(task).status == "open"
        bench.skip(somebody, bench.lease(somebody))
        assert bench.lease(somebody) == NoTask(reason="empty")
    assert (bench.row(task).status, bench.row(task).taken) == ("quarantined", 0)
    assert bench.lease(bench.person()) == NoTask(reason="empty")
    tasks.set_status(bench.store, task, "open", by=bench.person("admin"))
    assert bench.lease(bench.person()).task_id == task


def test_kinds_come_by_their_weights(bench):
    bench.rules(rank_weight=3, demonstration_weight=1)
    for _ in range(80):
        bench.task()
        bench.task(texts=None)
    kinds = Counter(bench.lease(bench.person()).kind for _ in range(80))
    # Binomial(80, 1/4) leaves 6..36 with a chance below 1e-4.
    assert 6 <= kinds["demonstration"] <= 36
    assert bench.lease(bench.person(), kind="demonstration").answers == ()


def test_ten_per_cent_need_three_by_a_hash_of_the_task(bench):
    with writing(bench.store) as connection:
        for number in range(1000):
            message = Message(role="user", content=str(number))
            prompt = Prompt(id=f"p{number}", prompt=[message])
            tasks.add_task(connection, prompt, None, Settings())
        needs = Counter(connection.execute(tasks_table.select()).scalars("need"))
    assert set(needs) == {1, 3}
    assert 60 <= needs[3] <= 140  # Binomial(1000, 0.1), more than four standard deviations


def test_screening_tasks_come_first_and_to_everybody(bench):
    bench.task()
    task = bench.task(texts=["good", "bad"])
    tasks.set_screening(bench.store, task, [1, 2], by=None)
    assert [bench.lease(bench.person()).task_id for _ in range(5)] == [task] * 5
    with pytest.raises(UserError, match="expected 2 ranks"):
        tasks.set_screening(bench.store, task, [1], by=None)


def test_threads_never_take_more_than_is_needed(bench):
    """Twelve labelers at once; need 2 of 30 tasks: exactly 60 labels, no pair twice."""
    ids = [bench.task(need=2) for _ in range(30)]
    crew = [bench.person() for _ in range(12)]
    failures: list[BaseException] = []

    def work(person):
        try:
            while not isinstance(lease := bench.lease(person), NoTask):
                bench.rank(person, lease)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(person,)) for person in crew]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures
    with reading(bench.store) as connection:
        pairs = [(r.task_id, r.person_id) for r in connection.execute(labels.select())]
    assert Counter(task for task, _ in pairs) == dict.fromkeys(ids, 2)
    assert len(set(pairs)) == 60


class LeaseMachine(RuleBasedStateMachine):
    """Leases, drafts, submits, skips and time, in any order; the rows must stay true."""

    new_bench: staticmethod
    people = Bundle("people")
    desks = Bundle("desks")

    @initialize()
    def open(self):
        self.bench = self.new_bench()
        self.bench.rules(quarantine_skips=3)

    def teardown(self):
        close_store(self.bench.store)

    @rule(target=people)
    def hire(self):
        return self.bench.person()

    @rule(need=st.integers(1, 3))
    def add(self, need):
        self.bench.task(need=need)

    @rule(target=desks, person=people)
    def lease(self, person):
        return person, self.bench.lease(person)

    @rule(desk=desks)
    def rank(self, desk):
        if not isinstance(desk[1], NoTask):
            self.bench.rank(*desk)

    @rule(desk=desks)
    def skip(self, desk):
        if not isinstance(desk[1], NoTask):
            self.bench.skip(*desk)

    @rule(desk=desks, sequence=st.integers(0, 5))
    def draft(self, desk, sequence):
        if not isinstance(desk[1], NoTask):
            person, lease = desk
            leases.save_draft(
                self.bench.store, person, lease.id, {}, sequence=sequence, now_ms=self.bench.now_ms
            )

    @rule(desk=desks)
    def give_back(self, desk):
        if not isinstance(desk[1], NoTask):
            leases.give_back(self.bench.store, desk[0], desk[1].id)

    @rule(minutes=st.sampled_from([1, 20, 31]))
    def wait(self, minutes):
        self.bench.later(minutes)

    @rule()
    def everything_comes_back(self):
        """After half an hour of silence nothing is live any more."""
        self.bench.later(31)
        leases.sweep(self.bench.store, now_ms=self.bench.now_ms)
        with reading(self.bench.store) as connection:
            assert not connection.execute(
                assignments.select().where(assignments.c.state == "live")
            ).first()

    @invariant()
    def rows_are_true(self):
        if not hasattr(self, "bench"):
            return
        with reading(self.bench.store) as connection:
            rows = connection.execute(tasks_table.select()).all()
            desks = connection.execute(assignments.select()).all()
            made = connection.execute(labels.select()).all()
        assert len({(desk.task_id, desk.person_id) for desk in desks}) == len(desks)
        superseded = {label.supersedes for label in made}
        standing = [label for label in made if label.id not in superseded]
        for task in rows:
            live = sum(d.task_id == task.id and d.state == "live" for d in desks)
            done = sum(s.task_id == task.id and s.counted and not s.skipped for s in standing)
            assert task.taken == live + done
            assert task.done == done
            assert live + done <= task.need


def test_the_lease_keeps_its_laws(make_bench):
    numbers = count()
    LeaseMachine.new_bench = staticmethod(lambda: make_bench(f"machine-{next(numbers)}"))
    run_state_machine_as_test(
        LeaseMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
