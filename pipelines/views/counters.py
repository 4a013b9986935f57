"""Counters that stay small however many rows go by: histograms with a last open bin, groups with a cap, sums.

Knows numbers and names, not rows, files or pages. What a counter has seen is read off as a frozen record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_GROUPS = 30
OTHER = "other"
_MAX_NAME = 48


def rounded(value: float | None, digits: int = 4) -> float | None:
    """For files: few digits, and None where nothing was measured."""
    return None if value is None else round(value, digits)


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`; None where there is nothing to take it of."""
    return part / whole if whole else None


# --- distributions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Distribution:
    """Counts of kept and dropped rows per bin, named by its start. Bins are `width` wide; the one at `last` is open."""

    width: float
    last: float
    kept: Mapping[float, int]
    dropped: Mapping[float, int]
    mean_kept: float | None = None
    mean_dropped: float | None = None

    @property
    def total(self) -> int:
        return sum(self.kept.values()) + sum(self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        bins = {name: {f"{start:g}": n for start, n in getattr(self, name).items()} for name in ("kept", "dropped")}
        means = {"mean_kept": rounded(self.mean_kept), "mean_dropped": rounded(self.mean_dropped)}
        return {"bin_width": self.width, "last_bin": self.last} | bins | means


@dataclass(slots=True)
class Histogram:
    """Counts values into bins, kept and dropped rows apart. Memory: one counter per bin that was hit."""

    width: float
    last: float
    _counts: tuple[Counter[int], Counter[int]] = field(default_factory=lambda: (Counter(), Counter()))
    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, value: float, is_kept: bool = True) -> None:
        place = min(int(max(value, 0.0) / self.width + 1e-9), round(self.last / self.width))
        self._counts[is_kept][place] += 1
        self._sums[is_kept] += value

    def distribution(self) -> Distribution:
        dropped, kept = ({round(i * self.width, 6): n for i, n in sorted(c.items())} for c in self._counts)
        mean_dropped, mean_kept = (share(s, c.total()) for s, c in zip(self._sums, self._counts, strict=True))
        return Distribution(self.width, self.last, kept, dropped, mean_kept, mean_dropped)


# --- groups ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one level or subject. Means are over its packed rows and over its kept rows; None without any."""

    name: str
    num_rows: int
    num_packed: int
    num_kept: int
    rounds_packed: float | None
    ratio_packed: float | None
    rounds_kept: float | None
    ratio_kept: float | None
    sequential: float | None

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self).items()
        return {name: rounded(value) if isinstance(value, float) else value for name, value in values}


@dataclass(slots=True)
class _Sums:
    rows: int = 0
    packed: list[float] = field(default_factory=lambda: [0.0] * 3)  # count, rounds, ratio
    kept: list[float] = field(default_factory=lambda: [0.0] * 5)  # … and sequential length before, after


@dataclass(slots=True)
class Groups:
    """Sums per name. The first names that come by are told apart, at most `MAX_GROUPS`; the rest are `other`."""

    _sums: dict[str, _Sums] = field(default_factory=dict)

    def add(self, name: str, num_rounds: int, ratio: float, is_kept: bool, before: int, after: int) -> None:
        """Counts one row; one without a name is in no group."""
        if not name:
            return
        name = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
        known = name in self._sums or len(self._sums) < MAX_GROUPS
        sums = self._sums.setdefault(name if known else OTHER, _Sums())
        sums.rows += 1
        if num_rounds:
            _accumulate(sums.packed, (1, num_rounds, ratio))
        if is_kept:
            _accumulate(sums.kept, (1, num_rounds, ratio, before, after))

    def groups(self) -> tuple[Group, ...]:
        """By name, numbers first and by size, `other` last."""
        names = sorted(
            self._sums, key=lambda name: (name == OTHER, not name.isdigit(), len(name) * name.isdigit(), name)
        )
        return tuple(_group(name, self._sums[name]) for name in names)


def _accumulate(sums: list[float], values: tuple[float, ...]) -> None:
    for place, value in enumerate(values):
        sums[place] += value


def _group(name: str, sums: _Sums) -> Group:
    packed, rounds_packed, ratio_packed = sums.packed
    kept, rounds_kept, ratio_kept, before, after = sums.kept
    return Group(
        name,
        sums.rows,
        int(packed),
        int(kept),
        share(rounds_packed, packed),
        share(ratio_packed, packed),
        share(rounds_kept, kept),
        share(ratio_kept, kept),
        share(after, before),
    )
