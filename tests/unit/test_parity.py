"""Training sees what inference shows: in layout `exact` the logits of every supervised token are those of its prompt.

The prompts are taken from the engine. Small random models in fp32; every backend that computes on CPU. The same check
fails on masks and positions that are a little wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch

from sprint.batching import FIELDS, IGNORED, Row, pad
from sprint.errors import ConfigError
from sprint.render import Layout
from sprint.tokenizer import ByteTokenizer, Tokenizer
from tests.parity import LEAKS, assert_same, inference_logits, laid, packed, random_trajectory, row_for, training_logits
from tests.unit.strategies import JoiningTokenizer
from train.attention import block_mask, check_model, document_bounds, implementation, resolve
from train.models import SupervisedLoss
from train.options import Attention

PROMPTS = (((3, 0), (), (1,)), ((2, 1), (), (0, 2)), ((0,), (6,), (1, 2)))  # of the rounds of three documents
SEEDS = range(len(PROMPTS))
VOCABULARY = 400


@dataclass(frozen=True, slots=True)
class Case:
    """A random model, a row of several documents, and what inference gives for each of its supervised tokens."""

    model: Any
    row: Row
    expected: torch.Tensor


def random_model(seed: int) -> Any:
    """Grouped queries and not, embeddings tied and not; weights so large that what is seen matters."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,  # a head of 16, the least that FlexAttention takes on GPU
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=(1, 2, 4)[seed % 3],
        tie_word_embeddings=seed % 2 == 0,
        initializer_range=0.2,
    )
    return Qwen2ForCausalLM(config).eval()


@cache
def exact(seed: int) -> Case:
    """Three trajectories in one row; some have no round at all, so they are a plain answer."""
    rng = random.Random(seed)
    tokenizer: Tokenizer = ByteTokenizer() if seed == 1 else JoiningTokenizer()
    model = random_model(seed)
    row, calls = laid(tokenizer, [random_trajectory(rng, *prompts) for prompts in PROMPTS[seed]])
    return Case(model, row, inference_logits(model, calls))


@pytest.fixture(params=[Attention.DENSE, Attention.FLEX])
def attention(request: pytest.FixtureRequest) -> Attention:
    return Attention(request.param)


@pytest.mark.parametrize("seed", SEEDS)
def test_training_logits_are_those_of_every_inference_prompt(seed: int, attention: Attention) -> None:
    case = exact(seed)
    case.model.set_attn_implementation(implementation(attention))
    assert max(case.row.documents) == 2
    assert_same(training_logits(case.model, case.row, attention), case.expected)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__.strip("_"))
def test_what_training_sees_besides_is_found_out(leak: Callable[[Row], Row], attention: Attention) -> None:
    case = exact(0)
    case.model.set_attn_implementation(implementation(attention))
    with pytest.raises(AssertionError, match="logits differ"):
        assert_same(training_logits(case.model, leak(case.row), attention), case.expected)


# --- flat: one causal sequence ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def varlen() -> None:
    """Attention over documents end to end without flash-attention: each stretch of the bounds by itself."""
    from transformers import AttentionInterface

    def by_stretches(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **told: Any
    ) -> tuple[torch.Tensor, None]:
        assert mask is None
        bounds = told["cu_seq_lens_q"].tolist()
        assert told["max_length_q"] == max(b - a for a, b in pairwise(bounds))
        groups = query.shape[1] // key.shape[1]
        parts = [
            torch.nn.functional.scaled_dot_product_attention(
                query[:, :, a:b],
                key[:, :, a:b].repeat_interleave(groups, 1),
                value[:, :, a:b].repeat_interleave(groups, 1),
                is_causal=True,
                scale=told["scaling"],
            )
            for a, b in pairwise(bounds)
        ]
        return torch.cat(parts, 2).transpose(1, 2), None

    AttentionInterface.register("by_stretches", by_stretches)


@pytest.mark.parametrize("backend", [Attention.DENSE, Attention.FLEX, Attention.VARLEN], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_documents_of_a_flat_row_do_not_know_of_each_other(seed: int, backend: Attention, varlen: None) -> None:
    rng = random.Random(seed)
    trajectories = [random_trajectory(rng, *prompts) for prompts in PROMPTS[seed]]
    rows = [row_for(JoiningTokenizer(), "why?", trajectory, Layout.FLAT) for trajectory in trajectories]
    rows.sort(key=len, reverse=True)
    model = random_model(seed)
    expected = torch.cat([alone(model, row) for row in rows])
    model.set_attn_implementation("by_stretches" if backend is Attention.VARLEN else implementation(backend))
    assert_same(training_logits(model, packed(rows), backend), expected)


def alone(model: Any, row: Row) -> torch.Tensor:
    """Logits of the supervised positions of one text, with nothing else in the row and no mask but the causal one."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row.ids])).logits[0]
    return logits[[label != IGNORED for label in row.labels]]


def test_rows_end_to_end_keep_the_bounds_of_their_documents(varlen: None) -> None:
    """Two rows of one batch, the second with padding: bounds are those of documents, rows and padding."""
    rng = random.Random(7)
    trajectories = (random_trajectory(rng, *prompts) for prompts in ((2, 1), (1,)))
    first, second = (row_for(JoiningTokenizer(), "q", trajectory, Layout.FLAT) for trajectory in trajectories)
    width = max(len(first), len(second)) + 3
    padded = [pad(row, width, 0) for row in (first, second)]
    documents = torch.tensor([row.documents for row in padded])
    assert document_bounds(documents).tolist() == [0, len(first), width, width + len(second), 2 * width]
    model = random_model(1)
    expected = torch.cat([alone(model, row) for row in (first, second)])
    model.set_attn_implementation("by_stretches")
    batch = {name: torch.tensor([getattr(row, name) for row in padded]) for name in FIELDS}
    with torch.no_grad():
        found, _ = SupervisedLoss(model, autocast=False, attention=Attention.VARLEN).logits(batch, plain=True)
    assert_same(found, expected)


def test_a_row_that_is_one_main_thread_needs_no_mask() -> None:
    rng, model = random.Random(5), random_model(0)
    row = row_for(JoiningTokenizer(), "q", random_trajectory(rng, 2), Layout.FLAT)
    loss = SupervisedLoss(model, autocast=False)
    batch = {name: torch.tensor([getattr(pad(row, len(row) + 9, 0), name)]) for name in FIELDS}
    assert_same(*(loss.logits(batch, plain)[0] for plain in (True, False)))


# --- which backend ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "branches", "use_gpu", "fp32", "installed", "expected"),
    [
        (Attention.AUTO, True, False, False, True, Attention.DENSE),
        (Attention.AUTO, True, True, False, True, Attention.FLEX),
        (Attention.AUTO, False, True, False, True, Attention.VARLEN),
        (Attention.AUTO, False, True, True, True, Attention.FLEX),
        (Attention.AUTO, False, True, False, False, Attention.FLEX),
        (Attention.DENSE, True, True, True, False, Attention.DENSE),
        (Attention.FLEX, True, False, True, True, "flex computes no gradients on CPU"),
        (Attention.VARLEN, True, True, False, True, "cannot hide executions .* layout flat"),
        (Attention.VARLEN, False, False, False, True, "runs on GPU only"),
        (Attention.VARLEN, False, True, True, True, "computes in bf16 only"),
        (Attention.VARLEN, False, True, False, False, "needs the package flash_attn, which is not installed"),
    ],
)
def test_a_backend_is_chosen_or_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    chosen: Attention,
    branches: bool,
    use_gpu: bool,
    fp32: bool,
    installed: bool,
    expected: Attention | str,
) -> None:
    monkeypatch.setattr("train.attention.find_spec", lambda name: object() if installed else None)
    if isinstance(expected, Attention):
        assert resolve(chosen, branches, use_gpu, fp32) is expected
    else:
        with pytest.raises(ConfigError, match=f"^attention: .*{expected}"):
            resolve(chosen, branches, use_gpu, fp32)


def test_a_model_with_sliding_windows_is_refused() -> None:
    from transformers import Qwen2Config

    sliding = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1, "num_hidden_layers": 2}
    check_model(Qwen2Config())
    check_model(Qwen2Config(**sliding | {"sliding_window": 64}, max_position_embeddings=64))
    with pytest.raises(ConfigError, match="layers of sliding_attention, expected full attention"):
        check_model(Qwen2Config(**sliding, max_position_embeddings=64))


def test_blocks_that_nobody_sees_are_left_out_and_none_is_missing() -> None:
    """The block mask is the one that torch makes of the same rule, which looks at all pairs."""
    from torch.nn.attention.flex_attention import create_block_mask

    rng = random.Random(3)
    documents = [row_for(ByteTokenizer(), "q", random_trajectory(rng, 2, 3)) for _ in range(4)]
    rows = [packed(documents[:3]), packed(documents[1:])]
    width = max(map(len, rows)) + 3
    batch = {name: torch.tensor([getattr(pad(row, width, 0), name) for row in rows]) for name in FIELDS}
    found = block_mask(batch)
    expected = create_block_mask(found.mask_mod, 2, None, width, width, device="cpu")
    for name in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_indices", "q_num_blocks"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.sparsity() > 50
