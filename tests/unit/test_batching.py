"""Laws of rows and packing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.batching import IGNORED, PADDING, Row, bins, labels_of, may_attend, pack, pad, row_of, tight_length
from sprint.types import Branch, Tokens, TrainingExample


@st.composite
def tokens(draw: st.DrawFn, min_size: int = 0) -> Tokens:
    ids = draw(st.lists(st.integers(0, 99), min_size=min_size, max_size=12))
    return Tokens(tuple(ids), tuple(draw(st.booleans()) for _ in ids))


@st.composite
def examples(draw: st.DrawFn) -> TrainingExample:
    main = draw(tokens(min_size=1))
    branches = [Branch(draw(st.integers(1, len(main))), draw(tokens(1))) for _ in range(draw(st.integers(0, 3)))]
    return TrainingExample("x", main, tuple(branches))


def test_a_mask_becomes_labels_shifted_by_one() -> None:
    assert labels_of(Tokens((5, 6, 7), (False, True, False))) == (6, IGNORED, IGNORED)
    assert labels_of(Tokens()) == ()


@given(examples())
def test_a_row_supervises_each_sampled_token_that_has_a_predecessor(example: TrainingExample) -> None:
    threads = [example.main, *(branch.tokens for branch in example.branches)]
    expected = [id for t in threads for id, sampled in zip(t.ids[1:], t.sampled[1:], strict=True) if sampled]
    row = row_of(example)
    assert [label for label in row.labels if label != IGNORED] == expected
    assert len(row) == len(example)


@given(examples())
def test_a_position_sees_exactly_its_inference_context(example: TrainingExample) -> None:
    """Main thread: everything before. Branch: the prefix it hangs on, and itself. Positions run as in that context."""
    row = row_of(example)
    for i in range(len(row)):
        seen = [j for j in range(len(row)) if may_attend(row, i, j)]
        stream = row.streams[i]
        if stream == 0:
            context = list(example.main.ids[: i + 1])
        else:
            branch = example.branches[stream - 1]
            own = row.positions[i] - branch.attach + 1
            context = list(example.main.ids[: branch.attach]) + list(branch.tokens.ids[:own])
        assert [row.ids[j] for j in seen] == context
        assert [row.positions[j] for j in seen] == list(range(len(context)))


@given(st.lists(examples(), max_size=12), st.integers(0, 30))
def test_packing_loses_nothing_and_mixes_nothing(items: list[TrainingExample], spare: int) -> None:
    rows = [row_of(example) for example in items]
    length = max((len(row) for row in rows), default=1) + spare
    packed = pack(rows, length)
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for row in packed:
        assert len(row) <= length
        for document in sorted(set(row.documents)):
            at = [i for i, d in enumerate(row.documents) if d == document]
            assert at == list(range(at[0], at[-1] + 1))
            found[tuple(row.ids[i] for i in at), tuple(row.labels[i] for i in at)] += 1
        assert not any(
            may_attend(row, i, j)
            for i in range(len(row))
            for j in range(len(row))
            if row.documents[i] != row.documents[j]
        )
    assert found == Counter((row.ids, row.labels) for row in rows)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(0, 60))
def test_every_document_is_in_one_row_and_goes_where_the_least_room_is_left(lengths: list[int], spare: int) -> None:
    """Against best-fit decreasing as one would write it, looking at every row for every document."""
    size = max(lengths, default=1) + spare
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        rooms.remove(min(fitting)) if fitting else None
        rooms.append((min(fitting) if fitting else size) - length)
    found = bins(lengths, size)
    assert sorted(index for members in found for index in members) == list(range(len(lengths)))
    assert sorted(size - sum(lengths[index] for index in members) for members in found) == sorted(rooms)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_a_tight_length_holds_every_document_and_pads_no_more_than_the_longest_does(lengths: list[int]) -> None:
    def padding(size: int) -> float:
        return 1 - sum(lengths) / (size * len(bins(lengths, size)))

    shortest, found = -(-max(lengths) // 8) * 8, tight_length(lengths)
    assert shortest <= found <= 2 * shortest
    assert found % 8 == 0
    assert padding(found) <= padding(shortest)
    assert found == shortest or padding(shortest) > 0.02


def test_packing_is_tight_where_it_can_be() -> None:
    rows = [Row(*((n,) * n for _ in range(6))) for n in (6, 4, 3, 7)]
    assert [len(row) for row in pack(rows, 10)] == [10, 10]


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 3 tokens does not fit in 2"):
        pack([Row(*((1, 2, 3) for _ in range(6)))], 2)


@given(examples(), st.integers(0, 5))
def test_padding_predicts_nothing_and_is_seen_by_nothing_else(example: TrainingExample, extra: int) -> None:
    row = row_of(example)
    padded = pad(row, len(row) + extra, pad_id=0)
    assert padded.ids[: len(row)] == row.ids
    assert padded.documents[len(row) :] == (PADDING,) * extra
    assert padded.num_supervised == row.num_supervised
    assert not any(may_attend(padded, i, j) for i in range(len(row)) for j in range(len(row), len(padded)))
