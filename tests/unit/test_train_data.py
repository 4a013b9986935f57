"""Laws of the attention mask, the order of the data, the tokenizer and Muon's step."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.batching import Row, may_attend, pack, pad, row_of
from sprint.types import Branch, Tokens, TrainingExample
from train.attention import attention_mask
from train.data import Order
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


@pytest.mark.parametrize(
    ("text", "tokens"), [("8-6+2=4", 5), ("8-6+12=14", 5), ("8*6/12=4", 5), ("8-6+21=23", 7), ("8*6/12+21=25", 9)]
)
def test_a_sign_and_its_number_are_one_token_where_no_large_number_has_a_sign(text: str, tokens: int) -> None:
    assert len(train_tokenizer([text]).encode(text)) == tokens


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
