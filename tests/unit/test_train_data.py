"""Laws of the rows, the attention mask, the order of the data, the tokenizer and Muon's step."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.batching import IGNORED, PADDING, Row, may_attend, pack, pad, row_of
from sprint.card import Instruction, Method, ModelCard
from sprint.errors import InputError
from sprint.render import Layout, Prompter, trajectory_text
from sprint.tags import parse
from sprint.tokenizer import ByteTokenizer
from sprint.types import Branch, Execution, Round, Tokens, TrainingExample, Trajectory
from train.data import Curated, Order, Rows, encode, write_rows
from train.models import SupervisedLoss, attention_mask
from train.optim import orthogonal_step
from train.tokenizers import tag_tokens, train_tokenizer

TEXTS = (
    "<think>\n<Plan_1>\nadd\n<prompt_1.1> go 12 </prompt_1.1>\n<prompt_1.2> so </prompt_1.2>\n</Plan_1>\n\n"
    "<Execution_1>\n<execution_1.1>\n12+3=15.\n</execution_1.1>\n\n<execution_1.2>\nno\n</execution_1.2>\n</Execution_1>\n\n"
    "<Final_answer>\nBased on execution_1.1 \\boxed{15}\n</Final_answer>\n</think>",
    "word word and words, 7 of them",
)


@st.composite
def examples(draw: st.DrawFn) -> TrainingExample:
    def tokens(low: int) -> Tokens:
        ids = draw(st.lists(st.integers(0, 9), min_size=low, max_size=8))
        return Tokens(tuple(ids), tuple(draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))))

    main = tokens(2)
    attach = draw(st.lists(st.integers(1, len(main)), max_size=3))
    return TrainingExample("x", main, tuple(Branch(at, tokens(1)) for at in attach))


def mask_of(rows: list[Row]) -> torch.Tensor:
    names = ("documents", "streams", "positions", "visible")
    return attention_mask(*(torch.tensor([getattr(row, name) for row in rows]) for name in names))[:, 0]


# --- the mask --------------------------------------------------------------------------------------------------------


@given(st.lists(examples(), min_size=1, max_size=4))
def test_the_mask_is_the_attention_rule(found: list[TrainingExample]) -> None:
    rows = [pad(row, 64, 0) for row in pack([row_of(example) for example in found], 64)]
    mask = mask_of(rows)
    for row, seen in zip(rows, mask.tolist(), strict=True):
        assert seen == [[may_attend(row, i, j) for j in range(64)] for i in range(64)]


@given(examples())
def test_every_position_sees_itself_so_no_softmax_is_empty(example: TrainingExample) -> None:
    row = pad(row_of(example), 40, 0)
    assert mask_of([row])[0].diagonal().all()


# --- rows ------------------------------------------------------------------------------------------------------------


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
    rows = encode(curated([f"<think>\n{'a' * n}\n</think>" for n in range(1, 40)]), prompter(), Layout.EXACT)
    info = write_rows(rows, tmp_path, 100, 1000, pad_id=0)
    stored = Rows(tmp_path)
    assert (info.examples, info.dropped, len(stored)) == (39, 0, info.num_rows)
    assert sum(int(n) for n in stored.lengths) == sum(len(row) for row in rows)
    assert sum(int(n) for n in stored.supervised) == sum(row.num_supervised for row in rows)
    batch = stored.take(range(len(stored)))
    assert ((batch["documents"] == PADDING) <= (batch["labels"] == IGNORED)).all()


def test_long_examples_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = encode(curated([f"<think>\n{'a' * n}\n</think>" for n in (5, 500, 10)]), prompter(), Layout.EXACT)
    info = write_rows(rows, tmp_path, 64, 1000, pad_id=0)
    assert (info.examples, info.dropped) == (2, 1)


def test_a_row_length_that_fits_nothing_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    rows = encode(curated(["<think>\nyes\n</think>"]), prompter(), Layout.EXACT)
    with pytest.raises(InputError, match="row_tokens is too small"):
        write_rows(rows, tmp_path / "rows", 8, 1000, pad_id=0)
    assert not (tmp_path / "rows").exists()


def test_the_automatic_row_length_holds_the_longest_example(tmp_path: Path) -> None:
    rows = encode(curated([f"<think>\n{'a' * n}\n</think>" for n in (5, 50)]), prompter(), Layout.EXACT)
    assert write_rows(rows, tmp_path, None, 1000, pad_id=0).dropped == 0
    assert write_rows(rows, tmp_path, None, 40, pad_id=0).dropped == 1


def test_a_text_that_breaks_the_format_names_its_example() -> None:
    with pytest.raises(InputError, match="training example '0'"):
        encode(curated(["<think>\nno plan\n</think>"], Method.SPRINT), prompter(Method.SPRINT), Layout.EXACT)


def test_a_batch_is_cut_to_its_longest_row(tmp_path: Path) -> None:
    rows = encode(curated([f"<think>\n{'a' * n}\n</think>" for n in (1, 90, 1, 90)]), prompter(), Layout.EXACT)
    write_rows(rows, tmp_path, 112, 1000, pad_id=0)
    stored = Rows(tmp_path)
    shortest = int(np.argmin(stored.lengths))
    assert stored.take([shortest])["ids"].shape[1] < stored.take(range(len(stored)))["ids"].shape[1] <= 112


# --- order -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 9))
def test_workers_share_every_step_evenly_and_read_every_row(
    n: int, micro: int, acc: int, world: int, seed: int
) -> None:
    order = Order(n, micro, acc, world, seed)
    read: list[int] = []
    for step in range(order.steps(1)):
        shares = [order.worker_rows(step, rank) for rank in range(world)]
        assert all([len(batch) for batch in share] == [micro] * acc for share in shares)
        taken = [row for share in shares for batch in share for row in batch]
        assert sorted(taken) == sorted(order.step_rows(step))
        read += order.step_rows(step)
    assert sorted(read[:n]) == list(range(n))


def test_the_order_is_its_seed() -> None:
    orders = [Order(50, 2, 1, 2, seed).step_rows(3) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


# --- the tokenizer ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trained, saved and loaded as any loader would: as the tokenizer of a Qwen2 model."""
    from sprint.tokenizer import HFTokenizer
    from train.models import prepare

    return HFTokenizer(prepare(TEXTS, tmp_path_factory.mktemp("start") / "model"))


@settings(deadline=None)
@given(st.text() | st.from_regex(r"(?:[ \n]|<Plan_1>|\n<execution_1\.2>\n|[0-9]|execution_1\.1|</|>)*"))
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_numbers_up_to_99_are_one_token_each(tokenizer: Any) -> None:
    for number in range(100):
        assert len(tokenizer.encode(str(number))) == 1
        assert len(tokenizer.encode(f"{number}*{number}={number}")) == 5


def test_a_sign_and_its_digit_are_one_token_where_no_longer_number_has_a_sign() -> None:
    assert len(train_tokenizer(["8-6+2=4"]).encode("8-6+2=4")) == 5
    assert len(train_tokenizer(["8-6+12=14"]).encode("8-6+12=14")) == 7


def test_every_tag_of_the_texts_is_one_token(tokenizer: Any) -> None:
    tags = tag_tokens(1, 2)
    assert len({tuple(tokenizer.encode(tag)) for tag in tags}) == len(tags)
    assert all(len(tokenizer.encode(tag)) == 1 for tag in tags)


def test_training_texts_are_mostly_words(tokenizer: Any) -> None:
    assert len(tokenizer.encode("word word word")) == 3


def test_a_tokenizer_saved_for_qwen2_reads_like_the_one_trained(tokenizer: Any) -> None:
    trained = train_tokenizer(TEXTS)
    for text in (*TEXTS, "It's 1234 x  \n\n y=5.5"):
        assert trained.encode(text) == tokenizer.encode(text)


# --- Muon ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_a_muon_step_is_that_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(shape)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = gradient.clone()
    torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
    assert torch.allclose(orthogonal_step(gradient), -weight.detach(), atol=2e-2)


# --- parity ----------------------------------------------------------------------------------------------------------


def tiny(vocab: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocab,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    ).eval()


def test_training_logits_are_those_of_the_inference_prompts() -> None:
    """In a packed row of layout `exact`, each stream's logits are those of the very prompt inference would send."""
    rounds = [
        Round(f"<prompt_{i}.1> a </prompt_{i}.1>\n<prompt_{i}.2> b </prompt_{i}.2>", (Execution("c"), Execution("dd")))
        for i in (1, 2)
    ]
    text = trajectory_text(Trajectory(tuple(rounds), "e"))
    assert parse(text)
    rows = encode(curated([text, text.replace("dd", "f")], Method.SPRINT), prompter(Method.SPRINT), Layout.EXACT)
    [row] = pack(rows, sum(map(len, rows)))
    batch = {name: torch.tensor([getattr(row, name)]) for name in Row.__dataclass_fields__}
    model = tiny(257)
    with torch.no_grad():
        logits, labels = SupervisedLoss(model, autocast=False).logits(batch, plain=False)
        supervised = [i for i, label in enumerate(row.labels) if label != IGNORED]
        assert labels.tolist() == [row.labels[i] for i in supervised]
        for place in [*random.Random(0).sample(range(len(supervised)), 12), 0, len(supervised) - 1]:
            prompt = inference_prompt(row, supervised[place])
            expected = model(input_ids=torch.tensor([prompt])).logits[0, -1]
            assert torch.allclose(logits[place], expected, atol=1e-4)


def inference_prompt(row: Row, at: int) -> list[int]:
    """The ids before and at position `at`, as the engine has them: a prefix of the main thread, then its own tokens."""
    same = [j for j in range(len(row)) if row.documents[j] == row.documents[at]]
    own = [row.ids[j] for j in same if row.streams[j] == row.streams[at] and j <= at]
    main = [row.ids[j] for j in same if row.streams[j] == 0]
    return own if row.streams[at] == 0 else main[: row.visible[at]] + own


def test_a_plain_row_needs_no_mask() -> None:
    rows = encode(curated(["<think>\nyes\n</think>", "<think>\nno it is\n</think>"]), prompter(), Layout.EXACT)
    padded = [pad(row, 40, 0) for row in rows]
    batch = {name: torch.tensor([getattr(row, name) for row in padded]) for name in Row.__dataclass_fields__}
    loss = SupervisedLoss(tiny(257), autocast=False)
    assert torch.allclose(loss(batch, plain=True), loss(batch, plain=False), atol=1e-4)
