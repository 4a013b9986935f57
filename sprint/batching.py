"""From examples to rows of numbers, and rows packed into longer rows. Pure; no torch, no files.

A row is a list of documents (examples) laid end to end. Inside a document, stream 0 is the main thread and stream s ≥ 1
is the s-th branch. Position i may attend to position j exactly when `may_attend` says so.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain

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
    kinds      the `Kind` of the token that this position predicts, 0 where it predicts none; left out, all 0
    """

    ids: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    documents: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    visible: tuple[int, ...] = ()
    kinds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.kinds:
            object.__setattr__(self, "kinds", (0,) * len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_supervised(self) -> int:
        return sum(label != IGNORED for label in self.labels)


FIELDS = tuple(field.name for field in fields(Row))


def labels_of(tokens: Tokens) -> tuple[int, ...]:
    """The one line where a mask becomes labels: a position predicts the next token if the model samples that token."""
    following = zip(tokens.ids[1:], tokens.sampled[1:], strict=True)
    return tuple(id if sampled else IGNORED for id, sampled in following) + (IGNORED,) * bool(tokens.ids)


def kinds_of(tokens: Tokens) -> tuple[int, ...]:
    """The kind of the token that each position predicts, shifted like the labels; 0 where there is no label."""
    following = zip(tokens.kinds[1:], tokens.sampled[1:], strict=True)
    return tuple(kind if sampled else 0 for kind, sampled in following) + (0,) * bool(tokens.ids)


def row_of(example: TrainingExample) -> Row:
    """An example as a row of one document."""
    main = _stream(example.main, stream=0, start=0, visible=0)
    branches = (_stream(b.tokens, number, b.attach, b.attach) for number, b in enumerate(example.branches, 1))
    return _end_to_end([main, *branches])


def _stream(tokens: Tokens, stream: int, start: int, visible: int) -> Row:
    n = len(tokens)
    positions = tuple(range(start, start + n))
    same = (stream,) * n
    return Row(tokens.ids, labels_of(tokens), positions, (0,) * n, same, (visible,) * n, kinds_of(tokens))


def _end_to_end(rows: Sequence[Row]) -> Row:
    """The rows as one. Their documents are told apart only as they were."""
    return Row(*(tuple(chain.from_iterable(getattr(row, name) for row in rows)) for name in FIELDS))


def pack(rows: Iterable[Row], row_tokens: int) -> list[Row]:
    """Documents (rows as `row_of` makes them) laid end to end in rows of at most `row_tokens`; see `bins`.

    Raises ValueError for a row longer than `row_tokens`.
    """
    documents = list(rows)
    found = bins([len(row) for row in documents], row_tokens)
    return [_packed([documents[index] for index in members]) for members in found]


def _packed(rows: Sequence[Row]) -> Row:
    numbers = chain.from_iterable((number,) * len(row) for number, row in enumerate(rows))
    return replace(_end_to_end(rows), documents=tuple(numbers))


def bins(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Which documents share a row, by their numbers. Best-fit decreasing: each goes where the least room is left over.

    Raises ValueError for a length above `row_tokens`. Deterministic, and O(n log n) in the number of documents.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    if order and lengths[order[0]] > row_tokens:
        raise ValueError(f"a row of {lengths[order[0]]} tokens does not fit in {row_tokens}")
    found: list[list[int]] = []
    rooms = _Rooms()
    for document in order:
        left, index = rooms.tightest(lengths[document]) or (row_tokens, len(found))
        if index == len(found):
            found.append([])
        found[index].append(document)
        rooms.add(left - lengths[document], index)
    return found


def tight_length(lengths: Sequence[int], multiple: int = 8, padding: float = 0.02) -> int:
    """A row length, from the longest document to twice that: the shortest with so little padding, or with the least."""
    longest = max(lengths)
    choices = [-(-longest * quarters // (4 * multiple)) * multiple for quarters in (4, 5, 6, 8)]
    shares = [1 - sum(lengths) / (len(bins(lengths, choice)) * choice) for choice in choices]
    good = [choice for choice, share in zip(choices, shares, strict=True) if share <= padding]
    return good[0] if good else choices[shares.index(min(shares))]


class _Rooms:
    """Rows by the room they have left. Rooms are no more than tokens in a row, so a sorted list will do."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._rows: dict[int, list[int]] = {}

    def add(self, left: int, row: int) -> None:
        if left not in self._rows:
            self._rows[left] = []
            insort(self._sizes, left)
        self._rows[left].append(row)

    def tightest(self, tokens: int) -> tuple[int, int] | None:
        """Takes out the row with the least room for `tokens`: the room, and which row. None where none has it."""
        at = bisect_left(self._sizes, tokens)
        if at == len(self._sizes):
            return None
        left = self._sizes[at]
        row = self._rows[left].pop()
        if not self._rows[left]:
            del self._rows[left], self._sizes[at]
        return left, row


def pad(row: Row, row_tokens: int, pad_id: int) -> Row:
    """`row` filled up to `row_tokens` with positions that predict nothing and attend to nothing but padding."""
    n = row_tokens - len(row)
    assert n >= 0, "a row longer than its length"
    zeros = (0,) * n
    return _end_to_end([row, Row((pad_id,) * n, (IGNORED,) * n, zeros, (PADDING,) * n, zeros, zeros)])


def may_attend(row: Row, i: int, j: int) -> bool:
    """Whether position i sees position j: its own stream up to itself, and what a branch sees of the main thread."""
    if row.documents[i] != row.documents[j]:
        return False
    if row.streams[i] == row.streams[j]:
        return j <= i
    return row.streams[j] == 0 and row.positions[j] < row.visible[i]
