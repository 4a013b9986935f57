"""Who attends to whom in packed rows, told to each of three ways to compute attention.

The rule itself is `sprint.batching.may_attend`; here it becomes a dense bias, a block mask of FlexAttention, or the
lengths of documents end to end. It knows transformers' names for them, and nothing of losses or files.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from sprint.errors import ConfigError
from train.options import Attention

_NAMES = {Attention.DENSE: "sdpa", Attention.FLEX: "flex_attention", Attention.VARLEN: "flash_attention_2"}


def resolve(chosen: Attention, branches: bool, use_gpu: bool, fp32: bool = False) -> Attention:
    """The backend that `chosen` comes to. `branches`: whether rows hold branches; `fp32`: no products in bf16.

    Raises ConfigError for a backend that cannot do this, or is not there.
    """
    if chosen is Attention.AUTO:
        varlen = not branches and not fp32 and _has_flash_attention()
        return (Attention.VARLEN if varlen else Attention.FLEX) if use_gpu else Attention.DENSE
    reason = _refusal(chosen, branches, use_gpu, fp32)
    if reason:
        raise ConfigError(f"attention: {chosen} {reason}", field="attention")
    return chosen


def _refusal(chosen: Attention, branches: bool, use_gpu: bool, fp32: bool) -> str:
    if chosen is Attention.FLEX and not use_gpu:
        return "computes no gradients on CPU, expected dense or a run with use_gpu"
    if chosen is not Attention.VARLEN:
        return ""
    if branches:
        return "cannot hide executions from their siblings as layout exact does, expected layout flat or attention flex"
    if not use_gpu:
        return "runs on GPU only, expected dense or a run with use_gpu"
    if fp32:
        return "computes in bf16 only, expected precision autocast or bf16"
    return "" if _has_flash_attention() else "needs the package flash_attn, which is not installed; expected flex or it"


def _has_flash_attention() -> bool:
    return find_spec("flash_attn") is not None


def implementation(backend: Attention) -> str:
    """What transformers calls it."""
    return _NAMES[backend]


def check_model(config: Any) -> None:
    """Raises ConfigError for a model that attends otherwise than to everything before: our masks would undo that."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"]) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    narrow = window is not None and window < config.max_position_embeddings
    if kinds - {"sliding_attention"} or (kinds and narrow):
        raise ConfigError(
            f"start: the model has layers of {', '.join(sorted(kinds))}, expected full attention in all of them",
            field="start",
        )


# --- three ways to say it --------------------------------------------------------------------------------------------


def hidden_states(
    decoder: Any, batch: dict[str, Tensor], backend: Attention, plain: bool, dtype: torch.dtype
) -> Tensor:
    """Last hidden states of packed rows: (rows, positions, width).

    `batch` holds the fields of `sprint.batching.Row`, each (rows, positions). `plain`: every row is one main thread.
    `dtype` is what attention computes in.
    """
    if backend is Attention.VARLEN:
        return _end_to_end(decoder, batch)
    told: dict[str, Any] = {}
    if backend is Attention.FLEX:
        told = {"attention_mask": block_mask(batch), "position_ids": batch["positions"]}
    elif not plain:
        told = {"attention_mask": _bias(batch, dtype), "position_ids": batch["positions"]}
    states: Tensor = decoder(input_ids=batch["ids"], use_cache=False, **told).last_hidden_state
    return states


def attention_mask(documents: Tensor, streams: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
    """Who sees whom in packed rows: (rows, 1, queries, keys), True where the query attends to the key.

    The rule of `sprint.batching.may_attend`, for all pairs at once.
    """
    return _seen((documents, streams, positions, visible), slice(None))[:, None]


_RULE = ("documents", "streams", "positions", "visible")
Rule = tuple[Tensor, ...]  # these fields of the batch


def _seen(rule: Rule, queries: slice) -> Tensor:
    """(rows, queries, keys): the rule for some of the queries."""
    documents, streams, positions, visible = rule
    at = torch.arange(documents.shape[1], device=documents.device)
    own = (streams[:, queries, None] == streams[:, None, :]) & (at[None, :] <= at[queries, None])
    main = (streams[:, None, :] == 0) & (positions[:, None, :] < visible[:, queries, None])
    return (documents[:, queries, None] == documents[:, None, :]) & (own | main)


def _bias(batch: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
    """The mask as a bias of the type attention computes in: converted once, not per layer."""
    seen = attention_mask(*(batch[name] for name in _RULE))
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def block_mask(batch: dict[str, Tensor]) -> Any:
    """The same rule for FlexAttention, which computes no block in which nobody sees anybody.

    Found some queries at a time, so that there is never a mask of all pairs.
    """
    from torch.nn.attention.flex_attention import BlockMask

    rule = tuple(batch[name].int() for name in _RULE)
    documents, streams, positions, visible = rule

    def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        own = (streams[b, q] == streams[b, k]) & (k <= q)
        main = (streams[b, k] == 0) & (positions[b, k] < visible[b, q])
        return (documents[b, q] == documents[b, k]) & (own | main)

    pairs = _pairs_in_blocks(rule)[:, None]
    full = pairs == _BLOCK * _BLOCK
    some, whole = _listed((pairs > 0) & ~full), _listed(full)
    n = documents.shape[1]
    return BlockMask.from_kv_blocks(*some, *whole, BLOCK_SIZE=_BLOCK, mask_mod=seen, seq_lengths=(n, n))


_BLOCK = 128
_QUERIES = 8 * _BLOCK  # looked at together


def _pairs_in_blocks(rule: Rule) -> Tensor:
    """How many pairs attend in each block: (rows, blocks of queries, blocks of keys)."""
    n = rule[0].shape[1]
    blocks = -(-n // _BLOCK)
    counts = []
    for start in range(0, n, _QUERIES):
        seen = _seen(rule, slice(start, start + _QUERIES))
        lines = -(-seen.shape[1] // _BLOCK)
        room = (0, blocks * _BLOCK - n, 0, lines * _BLOCK - seen.shape[1])
        whole = torch.nn.functional.pad(seen, room).view(-1, lines, _BLOCK, blocks, _BLOCK)
        counts.append(whole.sum((2, 4)))
    return torch.cat(counts, 1)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """For each block of queries: how many blocks of keys are chosen, and their numbers before those of the others."""
    order = chosen.int().argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), order.int().contiguous()


def _end_to_end(decoder: Any, batch: dict[str, Tensor]) -> Tensor:
    """Flash-attention over one long row in which every document, and the padding, attends to itself alone."""
    rows, n = batch["ids"].shape
    bounds = document_bounds(batch["documents"])
    longest = int(bounds.diff().max())
    states: Tensor = decoder(
        input_ids=batch["ids"].reshape(1, -1),
        position_ids=batch["positions"].reshape(1, -1),
        use_cache=False,
        cu_seq_lens_q=bounds,
        cu_seq_lens_k=bounds,
        max_length_q=longest,
        max_length_k=longest,
    ).last_hidden_state
    return states.reshape(rows, n, -1)


def document_bounds(documents: Tensor) -> Tensor:
    """Where documents begin in rows laid end to end, and where the last ends: (documents + 1,), int32."""
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = begins.reshape(-1).nonzero().reshape(-1)
    return torch.cat([starts, starts.new_tensor([documents.numel()])]).int()
