"""Laws of packed rows: what is written, what is dropped and counted, and what is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sprint.batching import FIELDS, IGNORED, PADDING, pack, pad
from sprint.card import Instruction, Method, ModelCard
from sprint.errors import InputError
from sprint.render import Layout, Prompter, trajectory_text
from sprint.tokenizer import ByteTokenizer
from sprint.types import Execution, Round, Trajectory
from train.data import Rows, encode, write_rows
from train.reading import Curated


def curated(texts: list[str], method: Method = Method.RFT) -> Curated:
    names = tuple(str(i) for i in range(len(texts)))
    return Curated(names, ("q",) * len(texts), tuple(texts), method)


def prompter(method: Method = Method.RFT) -> Prompter:
    return Prompter(ByteTokenizer(), ModelCard(method, Instruction.NONE))


def test_labels_are_the_sampled_text_and_the_end(tmp_path: Path) -> None:
    [row] = encode(curated(["<think>\nyes\n</think>"]), prompter(), Layout.EXACT)
    supervised = [label for label in row.labels if label != IGNORED]
    assert supervised == [*b"yes\n</think>", ByteTokenizer.eos_id]


def test_rows_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    rows = list(encode(curated([f"<think>\n{'a' * n}\n</think>" for n in range(1, 40)]), prompter(), Layout.EXACT))
    info = write_rows(rows, tmp_path, 100, 1000, pad_id=0)
    stored = Rows(tmp_path)
    expected = [pad(row, 100, 0) for row in pack(rows, 100)]
    assert all(stored.fields[name].tolist() == [list(getattr(row, name)) for row in expected] for name in FIELDS)
    assert (info.tokens, info.supervised_tokens) == (stored.lengths.sum(), stored.supervised.sum())
    assert info.padding == 1 - info.tokens / (info.num_rows * 100)
    assert (info.examples, info.dropped, len(stored)) == (39, 0, info.num_rows)
    assert sum(int(n) for n in stored.lengths) == sum(len(row) for row in rows)
    assert sum(int(n) for n in stored.supervised) == sum(row.num_supervised for row in rows)
    batch = stored.take(range(len(stored)))
    assert ((batch["documents"] == PADDING) <= (batch["labels"] == IGNORED)).all()


def test_long_examples_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = list(encode(curated([f"<think>\n{'a' * n}\n</think>" for n in (5, 500, 10)]), prompter(), Layout.EXACT))
    info = write_rows(rows, tmp_path, 64, 1000, pad_id=0)
    assert (info.examples, info.dropped) == (2, 1)


def test_a_row_length_that_fits_nothing_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    rows = list(encode(curated(["<think>\nyes\n</think>"]), prompter(), Layout.EXACT))
    with pytest.raises(InputError, match="row_tokens is too small"):
        write_rows(rows, tmp_path / "rows", 8, 1000, pad_id=0)
    assert not (tmp_path / "rows").exists()


def test_the_automatic_row_length_holds_the_longest_example(tmp_path: Path) -> None:
    rows = list(encode(curated([f"<think>\n{'a' * n}\n</think>" for n in (5, 50)]), prompter(), Layout.EXACT))
    assert write_rows(rows, tmp_path, None, 1000, pad_id=0).dropped == 0
    assert write_rows(rows, tmp_path, None, 40, pad_id=0).dropped == 1


def test_a_row_may_be_longer_than_the_context_but_no_example_may(tmp_path: Path) -> None:
    """Examples are told apart and each begins at position 0; branches reach less far than a row with them is long."""
    plan = "".join(f"<prompt_1.{k}> a </prompt_1.{k}>" for k in (1, 2, 3))
    text = trajectory_text(Trajectory((Round(plan, (Execution("b" * 90),) * 3),), "e"))
    [row] = encode(curated([text], Method.SPRINT), prompter(Method.SPRINT), Layout.EXACT)
    reach = max(row.positions) + 1
    assert reach < len(row)
    info = write_rows([row] * 4, tmp_path, 2 * len(row), reach, pad_id=0)
    assert (info.num_rows, info.dropped) == (2, 0)
    long = encode(
        curated([text, "<think>\n<Final_answer>\nx\n</Final_answer>\n</think>"], Method.SPRINT),
        prompter(Method.SPRINT),
        Layout.EXACT,
    )
    assert write_rows(long, tmp_path, None, reach - 1, pad_id=0).dropped == 1
    with pytest.raises(InputError, match=f"context of {reach - 1} tokens is too small: the shortest of 1 .* {reach}"):
        write_rows([row], tmp_path, None, reach - 1, pad_id=0)


def test_rows_grow_where_that_saves_padding_and_costs_nothing(tmp_path: Path) -> None:
    rows = list(
        encode(curated([f"<think>\n{'a' * n}\n</think>" for n in [100] * 4 + [60] * 6]), prompter(), Layout.EXACT)
    )
    loose, tight = (write_rows(rows, tmp_path, None, 1000, pad_id=0, tight=tight) for tight in (False, True))
    assert loose.row_tokens < tight.row_tokens
    assert loose.padding > tight.padding


def test_an_example_that_teaches_nothing_is_an_error_that_names_it() -> None:
    class Endless(ByteTokenizer):
        eos_id = None  # type: ignore[assignment]

    endless = Prompter(Endless(), ModelCard(Method.RFT, Instruction.NONE))
    with pytest.raises(InputError, match=r"training example '1' has \d+ tokens and none is supervised"):
        list(encode(curated(["<think>\na", "<think>\n"]), endless, Layout.EXACT))


def test_ids_that_the_model_does_not_have_are_an_error_that_names_the_example() -> None:
    texts = curated(["<think>\nyes\n</think>", "<think>\nno\n</think>"])
    largest = ByteTokenizer.eos_id
    assert len(list(encode(texts, prompter(), Layout.EXACT, vocabulary=largest + 1))) == 2
    with pytest.raises(InputError, match=f"'0' holds token id {largest}, but the model embeds {largest} ids"):
        list(encode(texts, prompter(), Layout.EXACT, vocabulary=largest))


def test_a_set_without_examples_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training examples"):
        write_rows([], tmp_path, None, 100, pad_id=0)


def test_a_text_that_breaks_the_format_names_its_example() -> None:
    with pytest.raises(InputError, match="training example '0'"):
        list(encode(curated(["<think>\nno plan\n</think>"], Method.SPRINT), prompter(Method.SPRINT), Layout.EXACT))


def test_a_batch_is_cut_to_its_longest_row(tmp_path: Path) -> None:
    rows = list(encode(curated([f"<think>\n{'a' * n}\n</think>" for n in (1, 90, 1, 90)]), prompter(), Layout.EXACT))
    write_rows(rows, tmp_path, 112, 1000, pad_id=0)
    stored = Rows(tmp_path)
    shortest = int(np.argmin(stored.lengths))
    assert stored.take([shortest])["ids"].shape[1] < stored.take(range(len(stored)))["ids"].shape[1] <= 112
    assert Rows(tmp_path, whole=True).take([shortest])["ids"].shape[1] == 112
