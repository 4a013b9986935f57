"""A rollout in the terminal: what is known of it so far, and how that is drawn.

`Board` takes the server's chunks; `plain` and `drawn` only look at it. It knows the shape of the chunks and a terminal,
nothing of HTTP. rich is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Chunks = Iterator[dict[str, Any]]

PLAN_LINES = 10  # of a growing text, the last lines are shown
EXECUTION_LINES = 8
LEAST_PANEL_WIDTH = 26


@dataclass
class Run:
    """One execution as it runs. `outcome` is "" until it is over."""

    instruction: str
    text: str = ""
    outcome: str = ""
    tokens: int = 0


@dataclass
class Board:
    """A rollout as far as its chunks tell: the current round, and what comes after the rounds."""

    round: int = 0
    plan: str = ""
    runs: dict[int, Run] = field(default_factory=dict)
    thought: str = ""  # of a model that reasons in one breath
    final: str = ""
    answer: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    def take(self, chunk: Mapping[str, Any]) -> str:
        """Note a chunk; gives the kind of event it carries, "" for none."""
        for choice in chunk.get("choices", []):
            self.answer += choice["delta"].get("content") or ""
        self.summary = chunk.get("sprint", self.summary)
        event = chunk.get("sprint_event", {})
        kind = str(event.get("kind", ""))
        if kind == "delta":
            self._text(event)
        elif kind == "execution_started":
            self.runs[event["number"]] = Run(event["instruction"])
        elif kind == "execution_finished":
            run = self.runs[event["number"]]
            run.outcome, run.tokens = event["outcome"], event["generated_tokens"]
        return kind

    def next_round(self) -> None:
        self.plan, self.runs = "", {}

    def _text(self, event: Mapping[str, Any]) -> None:
        self.round = event["round"] or self.round
        if event["part"] == "execution":
            self.runs[event["number"]].text += event["text"]
        elif event["part"] == "plan":
            self.plan += event["text"]
        elif event["part"] == "final":
            self.final += event["text"]
        else:
            self.thought += event["text"]


def summary_line(board: Board) -> str:
    """The counts in one line."""
    usage = board.summary.get("usage", {})
    parts = [
        f"{usage.get('num_rounds', 0)} rounds, {usage.get('num_executions', 0)} executions",
        f"{usage.get('generated_tokens', 0)} tokens, {usage.get('pipelined_tokens', 0)} one after another",
        f"{usage.get('wall_s', 0.0):.1f} s",
        str(board.summary.get("stop_reason", "no end was reported")),
    ]
    return "  ·  ".join(parts)


def plain(console: Console, board: Board, chunks: Chunks) -> None:
    """Text only: the plan as it is written, each execution when it is over, the answer, the counts."""
    out = console.file
    for chunk in chunks:
        kind = board.take(chunk)
        event = chunk.get("sprint_event", {})
        if kind == "delta" and event["part"] != "execution":
            out.write(event["text"])
        elif kind == "execution_finished":
            run = board.runs[event["number"]]
            out.write(f"\n\n[{event['round']}.{event['number']} {run.outcome}] {run.instruction}\n{run.text.strip()}\n")
        elif kind == "round_joined":
            out.write("\n\n")
            board.next_round()
        out.flush()
    out.write(f"\n\nanswer: {board.answer.strip()}\n{summary_line(board)}\n")


def drawn(console: Console, board: Board, chunks: Chunks) -> None:
    """The round that runs is redrawn in place; a round that is over stays above it."""
    from rich.live import Live

    with Live(console=console, refresh_per_second=12, transient=True) as live:
        for chunk in chunks:
            if board.take(chunk) == "round_joined":
                live.console.print(_round(board, live.console.width, growing=False))
                board.next_round()
            live.update(_now(board, live.console.width))
    console.print(_end(board))


def _now(board: Board, width: int) -> RenderableType:
    from rich.panel import Panel
    from rich.text import Text

    if board.thought:
        return Panel(Text(_tail(board.thought, 2 * PLAN_LINES)), title="thinking", border_style="cyan")
    if board.final:
        return Panel(Text(_tail(board.final, PLAN_LINES)), title="final answer", border_style="green")
    return _round(board, width, growing=True) if board.plan else Text("…")


def _round(board: Board, width: int, *, growing: bool) -> RenderableType:
    """The plan above, its executions side by side."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    plan = board.plan.strip()
    shown = Text(_tail(plan, PLAN_LINES) if growing else plan)
    parts: list[RenderableType] = [Panel(shown, title=f"round {board.round}: plan", border_style="cyan")]
    numbers = sorted(board.runs)
    per_row = max(1, min(len(numbers), width // LEAST_PANEL_WIDTH))
    for start in range(0, len(numbers), per_row):
        row = Table.grid(expand=True)
        for _ in range(per_row):
            row.add_column(ratio=1)
        row.add_row(*(_run(board.round, n, board.runs[n]) for n in numbers[start : start + per_row]))
        parts.append(row)
    return Group(*parts)


def _run(round: int, number: int, run: Run) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    style = "yellow" if not run.outcome else "green" if run.outcome == "completed" else "red"
    foot = f"{run.outcome}, {run.tokens} tokens" if run.outcome else "running"
    body = Group(Text(run.instruction, style="bold"), Text(_tail(run.text.strip(), EXECUTION_LINES)))
    return Panel(body, title=f"{round}.{number}", subtitle=foot, border_style=style)


def _end(board: Board) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    answer = Panel(Text(board.answer.strip() or "no answer"), title="answer", border_style="bold green")
    return Group(answer, Text(summary_line(board), style="dim"))


def _tail(text: str, lines: int) -> str:
    return "\n".join(text.splitlines()[-lines:])
