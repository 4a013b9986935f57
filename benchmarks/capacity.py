"""What curating, training and serving take, in GPU-hours and money: tables of arithmetic that can be checked by hand.

    python -m benchmarks.capacity [--only curation|training|serving|growth] [--gpu H100] [--gpu-hour 2.5] …

Every number that goes in is listed with where it is from: measured (by this project's benchmarks, see README),
published (by the paper, or by who makes it) or assumed. Prices are options; their defaults are examples and assumed.
Prints Markdown; `deploy/capacity.md` holds what it prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from benchmarks.capacity_serving import growth, serving
from benchmarks.simulation.reckoned import GPUS, QWEN_14B, Assumed, engine_options, step_times

Rows = Sequence[Sequence[str]]
MEASURED, PUBLISHED, ASSUMED = "measured", "published", "assumed"

# Tokens of an annotation in our grammar, by Qwen's vocabulary, on 130 R1 traces: python -m benchmarks.annotation.
TRACE_TOKENS = 2515
SHARED_PROMPT, STEPS_PROMPT, PARENTS_PROMPT = 801, 1.197, 0.181  # tokens; shares of the trace
STEPS_REPLY, PARENTS_REPLY = 0.052, 0.050
RULES_ROWS = 310  # traces a second and core that the rules annotate
KEPT = 0.41
EXAMPLE_TOKENS, FLAT_TOKENS, SUPERVISED = 4828, 3188, 0.5  # of an example in layout exact, and flat; share with loss
ROW_TOKENS, FILLED = 14336, 0.95


def parsed(args: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(SECTIONS))
    parser.add_argument("--gpu", choices=sorted(GPUS), default="H100")
    parser.add_argument("--gpu-hour", type=float, default=2.5, help="price of a GPU for an hour (default 2.5)")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour (default 0.04)")
    parser.add_argument("--prompt-price", type=float, default=0.15, help="an endpoint's, for a million (default 0.15)")
    parser.add_argument("--output-price", type=float, default=0.60, help="an endpoint's, for a million (default 0.60)")
    parser.add_argument("--asked-again", type=float, default=0.1, help="replies that have to be mended (default 0.1)")
    parser.add_argument("--annotating", type=int, default=64, help="calls in an annotator's engine (default 64)")
    parser.add_argument("--traces", default="1000,6000,100000")
    parser.add_argument("--examples", default="1700,100000")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak in training (default 0.4)")
    parser.add_argument("--rates", default="1,10,100", help="questions a second to be served (default 1,10,100)")
    parser.add_argument("--replicas", default="1,4,16", help="that the growth table has (default 1,4,16)")
    parser.add_argument("--per-replica", type=int, default=16, help="clients for each replica in it (default 16)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(args)


def markdown(title: str, head: Sequence[str], rows: Rows) -> str:
    lines = [f"**{title}**", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- curation --------------------------------------------------------------------------------------------------------


def curation_tokens(args: argparse.Namespace) -> tuple[float, float, float]:
    """Of one trace: prompt tokens sent, of them those that no prefix cache can have, tokens written."""
    first = SHARED_PROMPT + STEPS_PROMPT * TRACE_TOKENS
    second = first + (STEPS_REPLY + PARENTS_PROMPT) * TRACE_TOKENS
    sent = (first + second) * (1 + args.asked_again)
    new = (STEPS_PROMPT + PARENTS_PROMPT + STEPS_REPLY) * TRACE_TOKENS * (1 + args.asked_again)
    return sent, new, (STEPS_REPLY + PARENTS_REPLY) * TRACE_TOKENS * (1 + args.asked_again)


def curation(args: argparse.Namespace) -> Iterator[str]:
    sent, new, written = curation_tokens(args)
    yield markdown(
        "Curation: what goes in",
        ("what", "value", "from"),
        (
            ("tokens of a trace, mean of 130 R1 traces (7 kB each)", f"{TRACE_TOKENS:,}", MEASURED),
            ("prompt that all traces share / first question / second, new", "801 tokens / 119.7 % / 18.1 %", MEASURED),
            ("first reply / second, of the trace's tokens", "5.2 % / 5.0 %", MEASURED),
            ("of the traces, kept (rules annotator)", f"{KEPT:.0%}", MEASURED),
            ("replies that are asked for once more", f"{args.asked_again:.0%}", ASSUMED),
            ("→ a trace: prompt tokens sent / new ones / written", f"{sent:,.0f} / {new:,.0f} / {written:,.0f}", "sum"),
            ("traces a second and core, rules annotator", f"{RULES_ROWS}", MEASURED),
            ("endpoint, a million prompt / output tokens", f"{args.prompt_price} / {args.output_price}", ASSUMED),
            (f"own annotator: {QWEN_14B.name} on one {args.gpu}, calls at once", f"{annotating(args)}", ASSUMED),
            ("price of a GPU-hour / core-hour", f"{args.gpu_hour} / {args.core_hour}", ASSUMED),
        ),
    )
    yield markdown(
        "Curating N traces",
        ("traces", "kept", "endpoint", "own GPU-hours", "their price", "rules: core-hours", "their price"),
        [_curated(args, int(number)) for number in args.traces.split(",")],
    )


_CONTEXT = SHARED_PROMPT + round((STEPS_PROMPT + PARENTS_PROMPT + STEPS_REPLY + PARENTS_REPLY) * TRACE_TOKENS)


def annotating(args: argparse.Namespace) -> int:
    """Calls that an annotator's engine decodes at once: those wanted, or as many as its KV cache holds."""
    options = engine_options(QWEN_14B, GPUS[args.gpu], Assumed())
    return max(1, min(int(args.annotating), int(options.cache_tokens // _CONTEXT)))


def annotating_s(args: argparse.Namespace) -> float:
    """Seconds of one GPU for one trace, its engine full."""
    _, new, written = curation_tokens(args)
    times, calls = step_times(QWEN_14B, GPUS[args.gpu], Assumed()), annotating(args)
    return new * times.prefill_s + written * times.step_s(calls, 0, calls * _CONTEXT) / calls


def _curated(args: argparse.Namespace, traces: int) -> tuple[str, ...]:
    sent, _, written = curation_tokens(args)
    endpoint = traces * (sent * args.prompt_price + written * args.output_price) / 1e6
    gpu_hours = traces * annotating_s(args) / 3600
    core_hours = traces / RULES_ROWS / 3600
    money = (gpu_hours * args.gpu_hour, core_hours * args.core_hour)
    return (
        f"{traces:,}", f"{traces * KEPT:,.0f}", f"{endpoint:,.2f}", f"{gpu_hours:,.1f}", f"{money[0]:,.2f}",
        f"{core_hours:.3f}", f"{money[1]:.4f}",
    )  # fmt: skip


# --- training --------------------------------------------------------------------------------------------------------


def training_flops(examples: int, epochs: int) -> tuple[float, int]:
    """FLOPs of the whole run as `sprint train --dry-run` reckons them, and steps of eight rows."""
    from sprint.config import load_config
    from train.config import TrainConfig, recipe
    from train.data import RowsInfo
    from train.estimate import flops_per_token
    from train.shape import Shape

    layers, width, inner, kv_width, vocabulary = 28, 3584, 18944, 512, 152064  # Qwen2.5-7B, as published
    body = layers * (2 * width * width + 2 * width * kv_width + 3 * width * inner)
    head = width * vocabulary
    shape = Shape(body + 2 * head, body + 2 * head, body, body, head, vocabulary, layers, width, width, 0.0, 0.0, 0.0)
    config = load_config(TrainConfig, recipe("sprint_7b"), {"data": "curated/sprint", "name": "capacity"})
    tokens = examples * EXAMPLE_TOKENS
    rows = -(-tokens // round(ROW_TOKENS * FILLED))
    info = RowsInfo(rows, ROW_TOKENS, examples, 0, ROW_TOKENS, "", tokens, round(tokens * SUPERVISED))
    return epochs * rows * ROW_TOKENS * flops_per_token(config, shape, info), epochs * -(-rows // 8)


def training(args: argparse.Namespace) -> Iterator[str]:
    peak = GPUS[args.gpu].flops
    yield markdown(
        "Training: what goes in",
        ("what", "value", "from"),
        (
            ("tokens of an example, layout exact / flat (57 curated R1 traces)", "4,828 / 3,188", MEASURED),
            ("row, and how full", f"{ROW_TOKENS:,} tokens, {FILLED:.0%}", ASSUMED),
            ("tokens that carry loss", f"{SUPERVISED:.0%}", ASSUMED),
            ("FLOPs of a token: forward, backward, checkpointed layers again", "`train/estimate.py`", "arithmetic"),
            (f"peak of {args.gpu} in bf16", f"{peak / 1e12:.0f} TFLOP/s", PUBLISHED),
            ("share of it that training reaches", f"{args.utilisation:.0%}", ASSUMED),
            ("epochs", f"{args.epochs}", PUBLISHED),
            ("price of a GPU-hour", f"{args.gpu_hour}", ASSUMED),
        ),
    )
    yield markdown(
        "Training Qwen2.5-7B, all weights, one node of eight",
        ("examples", "row tokens read", "steps of 8 rows", "FLOPs", "GPU-hours", "hours on eight", "price"),
        [_trained(args, int(number)) for number in args.examples.split(",")],
    )


def _trained(args: argparse.Namespace, examples: int) -> tuple[str, ...]:
    flops, steps = training_flops(examples, args.epochs)
    hours = flops / (GPUS[args.gpu].flops * args.utilisation) / 3600
    tokens = examples * EXAMPLE_TOKENS / FILLED * args.epochs
    money = f"{hours * args.gpu_hour:,.0f}"
    return (
        f"{examples:,}", f"{tokens / 1e6:,.0f} M", f"{steps:,}", f"{flops:.2e}", f"{hours:,.1f}", f"{hours / 8:,.1f}",
        money,
    )  # fmt: skip


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "curation": curation,
    "training": training,
    "serving": lambda args: serving(args, markdown),
    "growth": lambda args: growth(args, markdown),
}


def main() -> None:
    args = parsed()
    for name, section in SECTIONS.items():
        if args.only in (None, name):
            for table in section(args):
                print(table, end="\n\n")


if __name__ == "__main__":
    main()
