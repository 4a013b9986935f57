"""The training sets of a run, made from its record: `sprint/` and `rft/` (Parquet, same rows in the same order) and
`dropped.jsonl`, one line for every row not kept.

Knows columns and files, not how rows were judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np

from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from sprint.card import Instruction, Method, ModelCard
from sprint.curated import Curated
from sprint.render import Layout, Prompter, training_example
from sprint.tokenizer import ByteTokenizer, Tokenizer

DROPPED = "dropped.jsonl"
METHODS = (Method.SPRINT, Method.RFT)
_MOST_BYTES = 256 << 20


class Sets:
    """Writes kept rows to both sets and the others to the list of dropped ones. A context; earlier sets go."""

    def __init__(
        self, store: Store, rows_per_file: int, fields: tuple[str, ...], instruct: bool, tokenizer: Tokenizer | None
    ) -> None:
        self._store = store
        self._stack = ExitStack()
        writers = [_Writer(method, fields, instruct, tokenizer) for method in METHODS]
        self._sets = [_ParquetSet(store, writer, rows_per_file) for writer in writers]

    def __enter__(self) -> Sets:
        for method in METHODS:
            self._store.remove(str(method))
        self._dropped = self._stack.enter_context(self._store.writer(DROPPED))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for rows in self._sets:
                rows.close()
        self._stack.__exit__(kind, error, trace)

    def add(self, recorded: Recorded) -> None:
        """Writes one row where it belongs."""
        if recorded.row.is_kept:
            for rows in self._sets:
                rows.add(recorded.row)
        else:
            self._dropped.write((json.dumps(_line(recorded), ensure_ascii=False) + "\n").encode())


def _line(recorded: Recorded) -> dict[str, Any]:
    row = recorded.row
    line = {"id": row.id, "where": recorded.where, "reason": row.reason, "detail": row.detail}
    numbers = {"num_rounds": row.num_rounds, "num_executions": row.num_executions, "ratio": round(row.ratio, 4)}
    return line | (numbers if row.num_steps else {})


class _Writer:
    """Makes training rows of one method."""

    def __init__(self, method: Method, fields: tuple[str, ...], instruct: bool, tokenizer: Tokenizer | None) -> None:
        taught = Instruction.SPRINT if method is Method.SPRINT else Instruction.SEQUENTIAL
        card = ModelCard(method, taught if instruct else Instruction.NONE)
        self.method, self._fields = method, fields
        self._prompter = Prompter(tokenizer or ByteTokenizer(), card)

    def row(self, row: Curated) -> dict[str, Any]:
        text = row.sprint_text if self.method is Method.SPRINT else row.rft_text
        values = {"id": row.id, "question": row.question, "answer": row.answer, "method": str(self.method)}
        values |= {name: getattr(row, name) for name in ("num_rounds", "num_executions", "ratio", "level", "subject")}
        made: Mapping[str, Callable[[], Mapping[str, Any]]] = {
            "text": lambda: {"text": text},
            "messages": lambda: {"messages": self._messages(row.question, text)},
            "tokens": lambda: self._tokens(row, text),
        }
        return values | {name: value for field in self._fields for name, value in made[field]().items()}

    def _messages(self, question: str, text: str) -> list[dict[str, str]]:
        asked = self._prompter.user_turn(question)
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": text}]

    def _tokens(self, row: Curated, text: str) -> dict[str, Any]:
        """Prompt and answer as one sequence, and which tokens are trained on (layout `flat`)."""
        tokens = training_example(row.id, row.question, text, self._prompter, Layout.FLAT).main
        return {"input_ids": np.array(tokens.ids, np.int32), "loss_mask": np.array(tokens.sampled, np.bool_)}

    def schema(self) -> Any:
        import pyarrow as pa

        message = pa.struct([("role", pa.string()), ("content", pa.string())])
        optional = {
            "text": [("text", pa.string())],
            "messages": [("messages", pa.list_(message))],
            "tokens": [("input_ids", pa.list_(pa.int32())), ("loss_mask", pa.list_(pa.bool_()))],
        }
        fields = [(name, pa.string()) for name in ("id", "question", "answer", "method")]
        fields += [field for name in self._fields for field in optional[name]]
        fields += [(name, pa.int32()) for name in ("num_rounds", "num_executions")]
        return pa.schema([*fields, ("ratio", pa.float64()), ("level", pa.string()), ("subject", pa.string())])


class _ParquetSet:
    """A folder of numbered Parquet files; at least one, so that an empty set still has its columns."""

    def __init__(self, store: Store, writer: _Writer, rows_per_file: int) -> None:
        self._store, self._writer, self._rows_per_file = store, writer, rows_per_file
        self._rows: list[Mapping[str, Any]] = []
        self._num_files = self._bytes = 0

    def add(self, row: Curated) -> None:
        made = self._writer.row(row)
        self._rows.append(made)
        self._bytes += _size(made)
        if len(self._rows) >= self._rows_per_file or self._bytes > _MOST_BYTES:
            self._flush()

    def close(self) -> None:
        if self._rows or not self._num_files:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_pylist(self._rows, schema=self._writer.schema())
        self._store.write_table(f"{self._writer.method}/part-{self._num_files:05d}.parquet", table, row_group_rows=1000)
        self._rows, self._bytes, self._num_files = [], 0, self._num_files + 1


def _size(value: Any) -> int:
    """Bytes that a value takes in a table: texts and tokens, which a row may hold twice over; numbers hardly count."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(_size, parts))
