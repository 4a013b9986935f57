"""Skeleton-of-Thought (Ning et al. 2023): an outline, its points written beside each other, then the answer taken out.

The prompts are our own. `sot-chat` is for chat models; `sot-reasoning` for models that think first: their thoughts are
counted and waited for, but no later call sees them (paper A.5 runs both so). It does not know who answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sprint.evals.asking import Answer, Asker, Call, derived_seed
from sprint.evals.methods.posing import filled
from sprint.evals.methods.trip import Trip

MODE = "sequential"
NO_OUTLINE = "no_outline"
_POINT = re.compile(r"^\s*(?:[-*#]\s*)?\**\s*([0-9]{1,2})\s*[.):]\s*\**\s*(\S.*)$", re.MULTILINE)
_THOUGHT_END = "</think>"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """An outline of at most `points` points; where there is none, the outline itself is read for the answer.

    `thinks`: the model writes thoughts first, which no later call is to see.
    """

    name: str
    points: int
    thinks: bool

    async def __call__(self, asker: Asker, question: str, seed: int, *, timeline: bool = False) -> Answer:
        """See `Method`."""
        trip = Trip(asker)
        outline = self._said(await trip.ask(self._outline(question, seed)))
        points = points_of(outline)[: self.points]
        body = await self._body(trip, question, seed, outline, points)
        seed_of_last = derived_seed(seed, "extract")
        text = filled("sot_extract", question=question, body=body)
        last = await trip.ask(Call(text, seed_of_last, MODE, kind="final"))
        usage = trip.usage(num_rounds=1, num_executions=len(points))
        return Answer(
            last.text,
            f"{outline}\n\n{body}" if points else body,
            usage,
            usage.wall_s,
            last.stop_reason if points else NO_OUTLINE,
            self.name,
            trip.calls if timeline else (),
            f"{outline}\n\n{body}\n\n{last.written}",
            trip.calls,
        )

    def _outline(self, question: str, seed: int) -> Call:
        text = filled("sot_outline", question=question, most=str(self.points))
        return Call(text, seed, MODE, kind="plan")

    async def _body(self, trip: Trip, question: str, seed: int, outline: str, points: list[str]) -> str:
        """The points written out, in their order; the outline where it has none."""
        if not points:
            return outline
        listed = "\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))
        calls = [
            Call(
                filled("sot_point", question=question, outline=listed, number=str(number), point=point),
                derived_seed(seed, "point", number),
                MODE,
                kind="execution",
                number=number,
            )
            for number, point in enumerate(points, 1)
        ]
        answers = await trip.ask_all(calls)
        pairs = enumerate(zip(points, answers, strict=True), 1)
        return "\n\n".join(f"{number}. {point}\n{self._said(answer)}" for number, (point, answer) in pairs)

    def _said(self, answer: Answer) -> str:
        return said(answer.written) if self.thinks else answer.written.strip()


def said(written: str) -> str:
    """A text without the thoughts before it. A thought that never ended is all there is, so it is kept."""
    after = written.rpartition(_THOUGHT_END)[2].strip() if _THOUGHT_END in written else written.strip()
    return after or written.replace(_THOUGHT_END, "").strip()


def points_of(outline: str) -> list[str]:
    """The points of an outline: lines that begin with the next number, from 1. Other lines are passed over."""
    points: list[str] = []
    for number, text in _POINT.findall(outline):
        if int(number) == len(points) + 1:
            points.append(text.strip().strip("*").strip())
    return points
