"""Figures about labelers, against counting by hand and against other libraries."""

import itertools

import numpy as np
import pytest
from scipy import stats

from trivium.store import agreement, statistics, tasks
from trivium.store.agreement import Judgement

# Two tasks, three labelers. By hand, pairs (0,1) (0,2) (1,2) of task 1:
#   ann: < < <   bob: < = >   cid: > < <
# ann-bob: (0,1) yes, (0,2) bob ties, (1,2) no; ann-cid: no, yes, yes; bob-cid: no, tie, no.
# Task 2 has one pair; ann and bob say the opposite.
JUDGED = {
    1: [Judgement("ann", [1, 2, 3]), Judgement("bob", [1, 2, 1]), Judgement("cid", [2, 1, 3])],
    2: [Judgement("ann", [1, 2]), Judgement("bob", [2, 1])],
}


def test_pairwise_agreement_by_hand():
    compared = agreement.between_labelers(JUDGED)
    # ann-bob 1 of 2, ann-cid 2 of 3, bob-cid: 0,1 no; 1,2 no: 0 of 2; task 2: 0 of 1.
    assert (sum(compared.agreed), len(compared.agreed)) == (3.0, 8)
    share = agreement.share(compared)
    assert share.point == 3 / 8
    assert share.low <= share.point <= share.high


def test_two_rankings_by_one_labeler_are_not_compared():
    twice = {1: [Judgement("ann", [1, 2]), Judgement("ann", [2, 1])]}
    assert agreement.share(agreement.between_labelers(twice)) is None


def test_against_the_rest_is_against_the_mean_of_the_others():
    rest = agreement.against_the_rest(JUDGED)
    # cid against the mean of ann and bob, (1, 2, 2): 0 before 1 no, 0 before 2 yes, tie left out.
    assert rest["cid"].agreed == [0.0, 1.0]


def test_full_agreement_is_not_called_certain():
    same = {n: [Judgement("a", [1, 2]), Judgement("b", [1, 2])] for n in range(20)}
    share = agreement.share(agreement.between_labelers(same))
    # Wilson's lower end for 20 of 20: n / (n + z^2) = 20 / 23.8415.
    assert (share.point, share.high) == (1.0, 1.0)
    assert share.low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        hard = rng.uniform(0.5, 0.9, 80)  # agreement differs from task to task: 0.7 on average
        compared = agreement.Compared([], [])
        for task, chance in enumerate(hard):
            compared.agreed.extend(map(float, rng.random(6) < chance))
            compared.tasks.extend([task] * 6)
        share = agreement.share(compared)
        covered += share.low <= 0.7 <= share.high
    assert covered >= 52  # of 60 at 95 %: fewer has a chance below 1 %


def test_kendall_tau_b_is_the_mean_over_pairs_of_labelers():
    pairs = [
        ([1, 2, 3], [1, 2, 1]),
        ([1, 2, 3], [2, 1, 3]),
        ([1, 2, 1], [2, 1, 3]),
        ([1, 2], [2, 1]),
    ]

    def tau_b(a, b):  # from its definition: (C - D) / sqrt((P - ties a) (P - ties b))
        both = [
            (np.sign(a[i] - a[j]), np.sign(b[i] - b[j]))
            for i, j in itertools.combinations(range(len(a)), 2)
        ]
        score = sum(x * y for x, y in both)
        return score / np.sqrt(sum(x != 0 for x, _ in both) * sum(y != 0 for _, y in both))

    expected = np.mean([tau_b(a, b) for a, b in pairs])
    assert agreement.kendall_tau_b(JUDGED) == pytest.approx(expected)


def test_nominal_alpha_from_its_definition():
    marks = {"a": {"1": 1, "2": 0, "3": 1, "4": 0}, "b": {"1": 1, "2": 0, "3": 0, "4": 0}}
    # Coincidences by hand: 8 values, 3 ones and 5 zeros, one unit of four disagrees (2 of 8 pairs).
    # D_o = 2 / 8; D_e = 2 * 3 * 5 / (8 * 7); alpha = 1 - D_o / D_e = 1 - (1/4) / (30/56).
    assert agreement.alpha_of_marks(marks) == pytest.approx(1 - 0.25 / (30 / 56))
    assert agreement.alpha_of_marks({"a": {"1": 1}, "b": {"1": 1}}) is None, "no variation: 0 / 0"
    assert agreement.alpha_of_marks({"a": {"1": 1}, "b": {"2": 0}}) is None, "nothing shared"


def test_position_bias_is_a_chi_square_over_the_commonest_size():
    firsts = [(3, 0)] * 30 + [(3, 1)] * 10 + [(3, 2)] * 5 + [(4, 3)] * 7
    bias = agreement.position_bias(firsts)
    assert bias.first_counts == (30, 10, 5)
    expected = ((30 - 15) ** 2 + (10 - 15) ** 2 + (5 - 15) ** 2) / 15
    assert bias.chi2 == pytest.approx(expected)
    assert bias.p == pytest.approx(stats.chi2.sf(expected, 2))
    assert agreement.position_bias([(3, 0)] * 14) is None, "fewer than five in each"


def test_the_report_of_a_store(bench):
    ann, bob = bench.person(), bench.person()
    for _ in range(3):
        bench.task(texts=["good", "bad"], need=2)
    for person in (ann, bob):
        for number in range(3):
            lease = bench.lease(person)
            best_first = {a.key: 1 if a.text == "good" else 2 for a in lease.answers}
            worst_first = {key: 3 - rank for key, rank in best_first.items()}
            wrong = person == bob and number == 2
            # Ratings always say "good is better", by three points.
            ratings = {key: 8 - 3 * rank for key, rank in best_first.items()}
            ranks = worst_first if wrong else best_first
            bench.rank(person, lease, ranks, ratings=ratings, flags=["opinion"] if wrong else [])
    report = statistics.agreement(bench.store)
    assert (report.pairwise.point, report.pairs) == (2 / 3, 3)
    assert report.kendall_tau_b == pytest.approx(1 / 3)  # 1, 1, -1
    assert report.alpha_rating.point == 1.0
    assert report.alpha_flags < 1.0
    assert [alias for alias, _, _ in report.against_rest] == ["alias-person-0", "alias-person-1"]
    assert report.contradictions == (1, 6)
    [case] = statistics.contradiction_cases(bench.store)
    assert (case.alias, case.better_text, case.worse_text) == ("alias-person-1", "bad", "good")
    assert (case.better_rating, case.worse_rating) == (2, 5)


def test_copies_of_an_answer_are_one_in_the_figures(bench):
    """A set shown as two answers is one comparison of two labelers, however often one is there."""
    ann, bob = bench.person(), bench.person()
    for _ in range(10):
        bench.task(texts=["same", "z", "same", "same"], need=2)
    for person in (ann, bob):
        for _ in range(10):
            lease = bench.lease(person)
            ranks = {a.key: 1 if a.text == "same" else 2 for a in lease.answers}
            bench.rank(person, lease, ranks, ratings={k: 2 * rank for k, rank in ranks.items()})
    report = statistics.agreement(bench.store)
    assert report.pairs == 10
    assert [pairs for _, _, pairs in report.against_rest] == [10, 10]
    assert sum(report.position.first_counts) == 20, "its best answer has one place on the page"
    assert len(report.position.first_counts) == 2
    cases = statistics.contradiction_cases(bench.store)
    assert {(case.better_text, case.worse_text) for case in cases} == {("same", "z")}


def test_an_empty_store_has_no_figures(bench):
    report = statistics.agreement(bench.store)
    assert (report.pairwise, report.pairs, report.contradictions) == (None, 0, (0, 0))
    assert statistics.labeler_progress(bench.store) == []


def test_progress_counts_what_was_done(bench):
    ann = bench.person()
    for _ in range(4):
        bench.task(texts=["good", "bad"])
    for number in range(3):
        lease = bench.lease(ann)
        if number == 2:
            bench.skip(ann, lease)
        else:
            bench.rank(ann, lease)
            bench.rank(ann, lease)
    bench.later(24 * 60)
    bench.rank(ann, bench.lease(ann))
    figures = statistics.progress_of(bench.store, ann, now_ms=bench.now_ms)
    assert (figures.today, figures.total, figures.skips, figures.revisions) == (1, 3, 1, 2)
    assert (figures.contradiction_rate, figures.late) == (0.0, 0)


def test_screening_counts_pairs_in_the_known_order(bench):
    ann = bench.person()
    task = bench.task(texts=["best", "worst", "middle"])
    tasks.set_screening(bench.store, task, [1, 3, 2], by=None)
    lease = bench.lease(ann)
    ranks = {"best": 1, "worst": 2, "middle": 3}
    bench.rank(ann, lease, {a.key: ranks[a.text] for a in lease.answers})
    figures = statistics.progress_of(bench.store, ann)
    # best-worst and best-middle are right, middle-worst isn't.
    assert (figures.screening_right, figures.screening_seen) == (2, 3)
    assert tasks.queue_counts(bench.store).waiting == 0


def test_an_ordinary_task_again_needs_as_many_as_were_drawn(bench):
    bench.rules(overlap_share=1.0, overlap_need=3)
    task = bench.task(need=None)
    assert bench.row(task).need == 3
    tasks.set_screening(bench.store, task, [1, 2, 3], by=None)
    assert bench.row(task).need > 100
    tasks.set_screening(bench.store, task, None, by=None)
    assert (bench.row(task).need, bench.row(task).priority) == (3, 0)
    tasks.set_need(bench.store, task, 5, by=None)
    tasks.set_screening(bench.store, task, None, by=None)
    assert bench.row(task).need == 5, "it was ordinary already"
