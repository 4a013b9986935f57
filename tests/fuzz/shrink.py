"""Makes an input that breaks a law as small as it gets while it still breaks it (delta debugging, Zeller 2002)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrunk(items: Sequence[T], breaks: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """`items` with everything taken out that is not needed for `breaks`. Slices, so text stays text."""
    size = max(1, len(items) // 2)
    while items:
        smaller = _without_some(items, size, breaks)
        if len(smaller) == len(items) and size == 1:
            return items
        size = max(1, min(size // 2 if len(smaller) == len(items) else size, len(smaller) // 2))
        items = smaller
    return items


def _without_some(items: Sequence[T], size: int, breaks: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    start = 0
    while start < len(items):
        shorter = items[:start] + items[start + size :]  # type: ignore[operator]
        if breaks(shorter):
            items = shorter
        else:
            start += size
    return items
