"""An estimate as lines that a person reads. It knows how numbers are written, nothing of how they are found."""

from __future__ import annotations

from collections.abc import Iterator

from train.devices import GIB
from train.estimate import Estimate

_LABEL = 22


def table(estimate: Estimate) -> list[str]:
    """Lines of two columns: what the run reads, the model, memory of one worker, disk and time."""
    return [
        f"  {label:<{_LABEL}}{value}" for part in (_data, _model, _memory, _time) for label, value in part(estimate)
    ]


def _data(e: Estimate) -> Iterator[tuple[str, str]]:
    info = e.info
    dropped = f", {info.dropped:,} longer than a row dropped" if info.dropped else ""
    yield "examples", f"{info.examples:,}{dropped}"
    yield "rows", f"{info.num_rows:,} of {info.row_tokens:,} tokens, {info.padding:.1%} padding"
    yield "tokens", f"{info.tokens:,}, of them supervised {info.supervised_tokens:,}"
    config = e.config
    yield "steps", f"{e.steps:,} of {config.workers} x {config.accumulation} x {e.micro_rows} rows"
    read = e.steps * e.rows_per_step
    yield "", f"{read:,} rows in all, {read / info.num_rows:.2f} times each, {read * info.row_tokens:,} tokens"


def _model(e: Estimate) -> Iterator[tuple[str, str]]:
    learning = "" if e.shape.trainable == e.shape.parameters else f", {e.shape.trainable:,} of adapters learn"
    yield "parameters", f"{e.shape.parameters:,}{learning}"


def _memory(e: Estimate) -> Iterator[tuple[str, str]]:
    device = e.device
    has = "" if device.memory is None else f" of {gib(device.memory)}"
    yield "memory of a worker", f"{gib(e.memory.total)}{has} on {device.name}"
    for name, size in e.memory.parts.items():
        yield "", f"{gib(size):>11}  {name}"
    if e.memory.total > sum(e.memory.parts.values()):
        yield "", f"{gib(e.memory.step):>11}  the optimizer's step, instead of the passing ones"
    if e.memory.host:
        yield "machine's memory", f"{gib(e.memory.host)} a worker, for what is offloaded"
    short = " (MORE THAN THERE IS)" if e.disk > e.free_disk else ""
    yield "disk", f"{gib(e.disk)} of {gib(e.free_disk)} free, checkpoints and model{short}"


def _time(e: Estimate) -> Iterator[tuple[str, str]]:
    yield "arithmetic", f"{e.flops:.2e} FLOP"
    if e.seconds is None or e.device.flops is None:
        yield "time", f"not known: {e.device.name} has no known peak in {e.config.precision}"
        return
    source = "measured for products alone" if e.device.measured else "the maker's peak"
    yield "time", f"about {duration(e.seconds)}, {e.seconds / e.steps:.2f} s a step"
    share = f"{e.config.estimate.utilisation:.0%}"
    yield "", f"assuming {share} of {e.device.flops / 1e12:.3g} TFLOP/s ({source}) on each of {e.config.workers}"


def gib(size: float) -> str:
    """Bytes for reading."""
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:,.1f} MiB"


def duration(seconds: float) -> str:
    """Seconds for reading."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
