"""The tables of the service benchmark. They know its rows and nothing of how they were measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.service_load import Sample
from benchmarks.service_servers import Use

GOAL = 0.95


@dataclass(frozen=True, slots=True)
class Block:
    """Questions that one arm was asked one block long, and what its server used for them.

    load   how they were asked: `64 clients`, `2.0 a second`
    left   calls and questions that the service still had afterwards; None where the server does not say
    """

    load: str
    arm: str
    wall_s: float
    samples: Sequence[Sample]
    cpu_s: Mapping[str, float]
    memory_mib: Mapping[str, float]
    own_cpu_s: float
    left: float | None = None

    @property
    def tokens_per_s(self) -> float:
        return sum(sample.tokens for sample in self.samples) / self.wall_s


def used(before: Use, after: Use) -> dict[str, float]:
    """CPU seconds between the two, by kind of process."""
    return {kind: after.cpu_s[kind] - before.cpu_s.get(kind, 0.0) for kind in after.cpu_s}


def by_load(blocks: Sequence[Block]) -> dict[tuple[str, str], list[Block]]:
    """The blocks of each load and arm, in the order in which they were run."""
    grouped: dict[tuple[str, str], list[Block]] = {}
    for block in blocks:
        grouped.setdefault((block.load, block.arm), []).append(block)
    return grouped


def speed_table(blocks: Sequence[Block]) -> Table:
    columns = ("load", "arm", "questions", "refused", "wrong", "requests/s", "tokens/s", "p50", "p99", "first p50")
    table = Table(*columns, "first p99", "left", title="speed (blocks taken together; seconds)")
    for (load, arm), each in by_load(blocks).items():
        table.add_row(load, arm, *_speed(each))
    return table


def _speed(blocks: Sequence[Block]) -> list[str]:
    samples = [sample for block in blocks for sample in block.samples]
    answered = [sample for sample in samples if sample.status == 200]
    wall_s = sum(block.wall_s for block in blocks)
    refused = sum(sample.status == 503 for sample in samples)
    wrong = len(samples) - refused - sum(sample.right for sample in samples)
    tokens = sum(sample.tokens for sample in samples)
    whole = [sample.end_s - sample.began_s for sample in answered]
    first = [sample.first_s - sample.began_s for sample in answered]
    left = [block.left for block in blocks if block.left is not None]
    return [
        str(len(samples)),
        str(refused),
        str(wrong),
        f"{len(answered) / wall_s:.2f}",
        f"{tokens / wall_s:.0f}",
        *(_s(quantile(values, share)) for values in (whole, first) for share in (0.5, 0.99)),
        f"{max(left):.0f}" if left else "",
    ]


def quantile(values: Iterable[float], share: float) -> float | None:
    """The value below which `share` of them lie; None where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _s(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def ratio_table(blocks: Sequence[Block]) -> Table:
    """Ours to raw, block by block, so that what a busy machine does to one block it does to both of its sides."""
    table = Table("load", "median", "least", "most", "blocks", "goal", title="tokens/s, ours to the raw server's")
    grouped = by_load(blocks)
    for load in dict.fromkeys(block.load for block in blocks):
        pairs = zip(grouped.get((load, "ours"), []), grouped.get((load, "raw"), []), strict=False)
        ratios = [mine.tokens_per_s / theirs.tokens_per_s for mine, theirs in pairs if theirs.tokens_per_s]
        if ratios:
            shown = [f"{value:.3f}" for value in (statistics.median(ratios), min(ratios), max(ratios))]
            goal = f">= {GOAL}" if load == "64 clients" else ""
            table.add_row(load, *shown, str(len(ratios)), goal)
    return table


def cpu_table(blocks: Sequence[Block]) -> Table:
    """What a busy machine does not change: CPU milliseconds of each kind of process for a thousand tokens."""
    kinds = list(dict.fromkeys(kind for block in blocks for kind in block.cpu_s))
    table = Table("load", "arm", *kinds, "this benchmark", title="CPU milliseconds for 1,000 tokens")
    for (load, arm), each in by_load(blocks).items():
        tokens = sum(sample.tokens for block in each for sample in block.samples) or 1
        spent = [sum(block.cpu_s.get(kind, 0.0) for block in each) for kind in kinds]
        own = sum(block.own_cpu_s for block in each)
        table.add_row(load, arm, *(f"{value / tokens * 1e6:.0f}" if value else "" for value in (*spent, own)))
    return table


def memory_table(blocks: Sequence[Block], start: Mapping[str, Use]) -> Table:
    """MiB that a server's processes hold, shared memory by its part: before the first block and after each load."""
    table = Table("arm", "when", "in all", "by process", title="memory, MiB")
    for arm, use in start.items():
        table.add_row(arm, "before", *_memory(use.memory_mib))
        for (load, name), each in by_load(blocks).items():
            if name == arm:
                table.add_row(arm, f"after {load}", *_memory(each[-1].memory_mib))
    return table


def _memory(memory_mib: Mapping[str, float]) -> tuple[str, str]:
    parts = ", ".join(f"{kind} {mib:.0f}" for kind, mib in memory_mib.items())
    return f"{sum(memory_mib.values()):.0f}", parts
