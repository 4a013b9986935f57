"""A key-value cache in which every sequence of a batch stands at its own length, so that sequences come and go freely.

It stands in for `transformers`' cache where the caller gives positions and a whole attention mask of its own. It knows
tensors, nothing of calls or sampling.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GROWTH = 256  # positions by which the cache grows


class Slots:
    """Keys and values per layer, (slots, heads, positions, head size). Slots in use lie side by side from the first.

    `at` says which slots the next forward pass is about and at which positions its tokens stand.
    """

    def __init__(self) -> None:
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._first = self._width = 0
        self._positions = torch.zeros(0, 0, dtype=torch.long)

    def at(self, first: int, positions: Tensor, width: int) -> Tensor:
        """Prepare a pass over slots `first`, `first` + 1, …: `positions` (batch, tokens) of what it will write.

        The pass sees the first `width` positions; returns its mask (batch, 1, tokens, width), True where a token sees.
        """
        self._first, self._positions, self._width = first, positions, width
        keys = torch.arange(width, device=positions.device)
        return (keys <= positions[:, :, None])[:, None]

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Take what one layer computed, (batch, heads, tokens, head size), and give all that its queries may see."""
        while len(self._keys) <= layer:
            self._keys.append(keys.new_zeros(0, keys.shape[1], 0, keys.shape[3]))
            self._values.append(values.new_zeros(0, values.shape[1], 0, values.shape[3]))
        return self._put(self._keys, layer, keys), self._put(self._values, layer, values)

    def _put(self, layers: list[Tensor], layer: int, new: Tensor) -> Tensor:
        end = self._first + new.shape[0]
        kept = layers[layer] = _grown(layers[layer], end, self._width)
        slots = torch.arange(self._first, end, device=new.device)[:, None]
        kept[slots, :, self._positions] = new.transpose(1, 2).to(kept.dtype)
        return kept[self._first : end, :, : self._width].to(new.dtype)

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the interface of `transformers`' caches; the lengths differ from slot to slot."""
        return self._width

    def move(self, source: int, target: int, length: int) -> None:
        """Let the sequence of slot `source`, `length` positions long, stand in slot `target` too."""
        for kept in (*self._keys, *self._values):
            kept[target, :, :length] = kept[source, :, :length]


def _grown(kept: Tensor, slots: int, width: int) -> Tensor:
    """The same tensor, or a larger copy that has so many slots and positions."""
    if kept.shape[0] >= slots and kept.shape[2] >= width:
        return kept
    positions = max(kept.shape[2], -(-width // _GROWTH) * _GROWTH)
    larger = kept.new_zeros(max(slots, kept.shape[0]), kept.shape[1], positions, kept.shape[3])
    larger[: kept.shape[0], :, : kept.shape[2]] = kept
    return larger
