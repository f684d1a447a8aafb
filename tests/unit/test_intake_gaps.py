"""What counts as a gap in a series, and the many things that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbrainprint.intake.closing.gaps import missing_numbers, missing_slices, slice_gaps, told

NOWHERE: list[None] = []


def without(values, *gone):
    return [value for value in values if value not in gone]


def positions_of(numbers, spacing=1.25):
    return [spacing * number for number in numbers]


def test_a_missing_middle_image_is_named():
    numbers = without(range(1, 171), 86)
    assert missing_numbers(numbers, positions_of(numbers)) == [range(86, 87)]


def test_missing_images_are_told_as_ranges():
    numbers = without(range(1, 31), 3, 7, 10, 11, 12)
    assert told(missing_numbers(numbers, NOWHERE)) == "3, 7 and 10–12"


def test_many_ranges_are_cut_short():
    numbers = without(range(1, 101), *range(2, 80, 8))
    assert told(missing_numbers(numbers, NOWHERE)) == "2, 10, 18, 26, 34 and 5 more"


def test_slices_are_missed_where_the_numbers_say_nothing():
    positions = positions_of(without(range(40), 17), spacing=4.8)
    [gap] = missing_slices([None] * 39, positions)
    assert (gap.missing, pytest.approx(gap.after)) == (1, 16 * 4.8)
    assert missing_slices([1] * 39, positions) == [gap]


@pytest.mark.parametrize(
    ("numbers", "positions"),
    [
        ([], []),
        ([1], [0.0]),
        ([1, 3], [0.0, 2.0]),
        ([18, 19, 20, 182], [0.0, 1.25, 2.5, 205.0]),  # an excerpt
        (range(112, 116), positions_of(range(4))),  # another one
        (range(1, 170, 2), NOWHERE),  # every second number: two echoes in two series
        ([*range(1, 61), *range(101, 161)], NOWHERE),  # blocks of a hundred for each phase
        ([1] * 30, NOWHERE),  # a sender that does not number
        ([*range(1, 31)] * 2, positions_of(range(30)) * 2),  # two echoes with the same numbers
        ([*range(1, 31)] * 2 + [31], NOWHERE),  # numbers that are used up unevenly
        ([1, 2, 3, 5, None], NOWHERE),
        (without(range(1, 41), 20), positions_of(range(39))),  # numbers skip, slices do not
        (range(1, 6), [0.0, 5.0, 10.0, 20.0, 25.0]),  # slices skip, numbers do not
        ([None] * 9, [0, 3.3, 9.2, 13.6, 14.1, 21, 22, 30, 31]),  # three planes of a localizer
        ([None] * 60, positions_of(range(30)) * 2),  # two images at each place
        ([None] * 4, [1.0, 2.0, None, 5.0]),
    ],
)
def test_nothing_is_missed_where_the_ruler_is_not_even(numbers, positions):
    assert missing_numbers(list(numbers), list(positions)) == []
    assert missing_slices(list(numbers), list(positions)) == []


def test_a_missing_image_of_a_diffusion_series_is_seen_by_its_number():
    numbers = range(1, 601)  # thirty slices, twenty directions
    places = [number % 30 * 4.0 for number in numbers]
    kept = without(numbers, 301)
    assert missing_numbers(kept, [places[n - 1] for n in kept]) == [range(301, 302)]


def test_every_second_number_may_be_missed_too():
    assert missing_numbers(without(range(1, 100, 2), 51), NOWHERE) == [range(51, 52, 2)]


def test_measured_positions_need_not_be_exact():
    noisy = [n * 0.9 + (n % 3) * 1e-4 for n in without(range(192), 100, 101)]
    assert [gap.missing for gap in slice_gaps(noisy) or []] == [2]


@given(
    st.integers(0, 500),
    st.integers(5, 300),
    st.floats(0.3, 8.0),
    st.randoms(use_true_random=False),
)
def test_whole_series_are_never_missed_and_one_inner_image_always_is(first, count, spacing, random):
    numbers = list(range(first, first + count))
    random.shuffle(numbers)
    assert missing_numbers(numbers, positions_of(numbers, spacing)) == []
    gone = random.randrange(first + 1, first + count - 1)
    kept = without(numbers, gone)
    assert missing_numbers(kept, positions_of(kept, spacing)) == [range(gone, gone + 1)]
    assert [g.missing for g in missing_slices([None] * len(kept), positions_of(kept, spacing))] == [
        1
    ]


@given(st.lists(st.one_of(st.none(), st.integers()), max_size=50), st.data())
def test_any_numbers_and_positions_give_an_answer(numbers, data):
    positions = data.draw(
        st.lists(
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
            min_size=len(numbers),
            max_size=len(numbers),
        )
    )
    missing_numbers(numbers, positions)
    missing_slices(numbers, positions)
