"""From examples to rows of numbers, and rows packed into longer rows. Pure; no torch, no files.

A row is a list of documents (examples) laid end to end. Inside a document, stream 0 is the main thread and stream s ≥ 1
is the s-th branch. Position i may attend to position j exactly when `may_attend` says so.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sprint.types import Tokens, TrainingExample

IGNORED = -100  # the label of a position that predicts nothing supervised
PADDING = -1  # the document of a padding position


@dataclass(frozen=True, slots=True)
class Row:
    """Equal-length tuples, one entry per position.

    labels     the id that this position predicts, or IGNORED (already shifted by one)
    positions  the position id the model sees; a branch goes on where its prompt ended
    documents  which example of the row, from 0; PADDING for padding
    streams    0 main thread, s ≥ 1 branch
    visible    for a branch, how many main-thread tokens it sees; 0 on the main thread
    """

    ids: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    documents: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    visible: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_supervised(self) -> int:
        return sum(label != IGNORED for label in self.labels)


def labels_of(tokens: Tokens) -> tuple[int, ...]:
    """The one line where a mask becomes labels: a position predicts the next token if the model samples that token."""
    following = zip(tokens.ids[1:], tokens.sampled[1:], strict=True)
    return tuple(id if sampled else IGNORED for id, sampled in following) + (IGNORED,) * bool(tokens.ids)


def row_of(example: TrainingExample) -> Row:
    """An example as a row of one document."""
    row = _stream(example.main, stream=0, start=0, visible=0)
    for stream, branch in enumerate(example.branches, 1):
        row = _join(row, _stream(branch.tokens, stream, branch.attach, branch.attach))
    return row


def _stream(tokens: Tokens, stream: int, start: int, visible: int) -> Row:
    n = len(tokens)
    positions = tuple(range(start, start + n))
    return Row(tokens.ids, labels_of(tokens), positions, (0,) * n, (stream,) * n, (visible,) * n)


def _join(first: Row, second: Row, new_document: bool = False) -> Row:
    shift = 1 + max(first.documents, default=-1) if new_document else 0
    documents = tuple(document + shift for document in second.documents)
    return Row(
        first.ids + second.ids,
        first.labels + second.labels,
        first.positions + second.positions,
        first.documents + documents,
        first.streams + second.streams,
        first.visible + second.visible,
    )


def pack(rows: Iterable[Row], row_tokens: int) -> list[Row]:
    """Best-fit decreasing: each row goes where the least room is left over; documents stay whole and apart.

    Raises ValueError for a row longer than `row_tokens`. Deterministic. O(n log n) in the number of rows.
    """
    ordered = sorted(rows, key=len, reverse=True)
    if ordered and len(ordered[0]) > row_tokens:
        raise ValueError(f"a row of {len(ordered[0])} tokens does not fit in {row_tokens}")
    bins: list[list[Row]] = []
    room: list[tuple[int, int]] = []  # (tokens left, index of bin), sorted
    for row in ordered:
        found = bisect_left(room, (len(row), -1))
        left, index = room.pop(found) if found < len(room) else (row_tokens, len(bins))
        if index == len(bins):
            bins.append([])
        bins[index].append(row)
        insort(room, (left - len(row), index))
    return [_concatenate(parts) for parts in bins]


def _concatenate(rows: Sequence[Row]) -> Row:
    joined = Row()
    for row in rows:
        joined = _join(joined, row, new_document=True)
    return joined


def pad(row: Row, row_tokens: int, pad_id: int) -> Row:
    """`row` filled up to `row_tokens` with positions that predict nothing and attend to nothing but padding."""
    n = row_tokens - len(row)
    assert n >= 0, "a row longer than its length"
    zeros = (0,) * n
    filler = Row((pad_id,) * n, (IGNORED,) * n, zeros, (PADDING,) * n, zeros, zeros)
    return _join(row, filler)


def may_attend(row: Row, i: int, j: int) -> bool:
    """Whether position i sees position j: its own stream up to itself, and what a branch sees of the main thread."""
    if row.documents[i] != row.documents[j]:
        return False
    if row.streams[i] == row.streams[j]:
        return j <= i
    return row.streams[j] == 0 and row.positions[j] < row.visible[i]
