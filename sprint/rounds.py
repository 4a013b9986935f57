"""Packs steps into rounds: who runs when, under which prompt number, and how the plans read (paper §3.2(3), A.2, B.1).

Knows steps and their parents. Does not know lines, annotators or whether a trajectory is worth keeping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sprint import tags
from sprint.types import Execution, Round, Step, Trajectory

PromptIds = Mapping[int, tuple[int, int]]


def rounds_of(steps: Sequence[Step]) -> dict[int, int]:
    """The round of each step: one after each parent that has an execution, and with each parent that only plans.

    Steps come in numeric order, each after its parents.
    """
    rounds: dict[int, int] = {}
    runs = {step.index: bool(step.execution) for step in steps}
    for step in steps:
        rounds[step.index] = max((rounds[parent] + runs[parent] for parent in step.parents), default=1)
    return rounds


def by_round(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps of each round, in their original order."""
    rounds = rounds_of(steps)
    packed: list[list[Step]] = [[] for _ in range(max(rounds.values(), default=0))]
    for step in steps:
        packed[rounds[step.index] - 1].append(step)
    return packed


def prompt_ids(steps: Sequence[Step]) -> dict[int, tuple[int, int]]:
    """(round, number) of each executed step, numbered from 1 within its round."""
    return {
        step.index: (round, number)
        for round, members in enumerate(by_round(steps), 1)
        for number, step in enumerate((member for member in members if member.execution), 1)
    }


def ratio(steps: Sequence[Step]) -> float:
    """Parallelism ratio: executed steps per round (0 when there are no steps)."""
    num_rounds = len(by_round(steps))
    return sum(bool(step.execution) for step in steps) / num_rounds if num_rounds else 0.0


def pack(steps: Sequence[Step], final_answer: str) -> Trajectory:
    """The trajectory of `steps`.

    Comments on a round's executions open the next plan: the planner writes them once it has seen the results. Those on
    the last round stay at the end of the execution they remark on.
    """
    ids, packed = prompt_ids(steps), by_round(steps)
    last = len(packed)
    rounds = tuple(
        _round(members, ids, _comments(packed[number - 2], ids) if number > 1 else [], is_last=number == last)
        for number, members in enumerate(packed, 1)
    )
    return Trajectory(rounds, final_answer)


def _comments(members: Sequence[Step], ids: PromptIds) -> list[str]:
    """What the next plan opens with, each comment under the name of the execution it is about."""
    return [f"Observation about {tags.name(*ids[step.index])}:\n{step.comment}" for step in members if step.comment]


def _round(members: Sequence[Step], ids: PromptIds, opening: list[str], *, is_last: bool) -> Round:
    parts = opening
    previous, header = None, ""
    for step in members:
        # The dashes mark a change of the train of thought: the step before this one stands in another round.
        if previous is not None and step.index != previous + 1:
            parts.append(tags.TRAIN_OF_THOUGHT_BREAK)
        wanted = _header(step, ids)
        parts += [text for text in ("" if wanted == header else wanted, step.plan, _prompt(step, ids)) if text]
        previous, header = step.index, wanted or header
    return Round("\n".join(parts), tuple(_execution(step, is_last) for step in members if step.execution))


def _execution(step: Step, is_last: bool) -> Execution:
    remark = f"\n{step.comment}" if is_last and step.comment else ""
    return Execution(step.execution + remark)


def _header(step: Step, ids: PromptIds) -> str:
    """`Based on execution_1.1, execution_1.2:`, in the parents' own order; parents that only plan are not named."""
    names = [tags.name(*ids[parent]) for parent in step.parents if parent in ids]
    return f"Based on {', '.join(names)}:" if names else ""


def _prompt(step: Step, ids: PromptIds) -> str:
    return tags.prompt(*ids[step.index], step.instruction) if step.index in ids else ""
