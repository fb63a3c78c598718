"""Names beside the points of a study's figure do not stand on one another."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trivium.runs.study_figure import spread


def test_names_that_touch_are_moved_apart():
    assert spread([0.5, 0.0, 0.52], gap=0.1, top=1.0) == [0.5, 0.0, 0.6]
    assert spread([0.95, 0.97], gap=0.1, top=1.0) == [0.9, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_names_keep_their_order_and_their_distance(heights):
    places = spread(heights, gap=0.075, top=1.0)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    for below, above in itertools.pairwise(order):
        assert places[above] - places[below] >= 0.075 - 1e-9
    assert max(places) <= 1.0
