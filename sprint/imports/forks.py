"""Outputs of the fork-and-join forms: a sequential text with parallel blocks in it, whose branches may hold more.

    parallel      <Parallel> <Path> … </Path> <Path> … </Path> </Parallel> <Summary> … </Summary>   (Parallel-R1)
    multiverse    <Parallel> <Goal> <Outline> … </Goal> <Path> … </Path> … <Conclusion> … </Conclusion> </Parallel>
    threadweaver  <Parallel> <Outlines> … </Outlines> <Thread> … </Thread> … </Parallel>

What stands in a block before its first branch (goal, outlines) is written before the fork, and what stands after a
branch (conclusion, summary) after the join, both by whoever writes the sequential text. A block is a round of SPRINT
whose prompts all end where its plan ends, so pipelined and barrier tokens are the same. Tags are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sprint.imports.written import MalformedOutput, Written, counted
from sprint.usage import RoundCounts

Count = Callable[[str], int]
_MAX_DEPTH = 64


@dataclass(slots=True)
class Fork:
    """A parallel block: its branches."""

    branches: list[Strand] = field(default_factory=list)


@dataclass(slots=True)
class Strand:
    """What one writer writes: texts, and forks between them."""

    parts: list[str | Fork] = field(default_factory=list)


def read_forks(text: str, count: Count, branch: str) -> Written:
    """One output whose branches stand in tags of this name. Raises MalformedOutput where tags do not nest."""
    parts = parse(text, branch).parts
    rounds: list[RoundCounts] = []
    pending = 0
    for part in parts:
        if isinstance(part, Fork):
            paths = tuple(critical_tokens(branch, count) for branch in part.branches)
            rounds.append(RoundCounts(pending, (pending,) * len(paths), paths))
            pending = 0
        else:
            pending += count(part)
    final = parts[-1] if parts and isinstance(parts[-1], str) else ""
    forks = list(_forks(parts))
    usage = counted(
        rounds,
        pending,
        count(text),
        join=sum(_all_tokens(branch, count) for part in parts if isinstance(part, Fork) for branch in part.branches),
        code=None,  # the authors' code reads other tags
        num_executions=sum(len(fork.branches) for fork in forks),
    )
    return Written(usage, final)


def parse(text: str, branch: str) -> Strand:
    """The tree of an output. Raises MalformedOutput naming the first tag that is out of place."""
    tags = re.compile(rf"</?(?:Parallel|{branch})>")
    stack: list[Strand | Fork] = [Strand()]
    done = 0
    for match in tags.finditer(text):
        tag = match[0]
        closing, name = tag.startswith("</"), tag.strip("</>")
        # A branch's tags are its own tokens, a block's those of who forks and joins.
        cut = match.start() if name == branch and not closing else match.end()
        _write(stack, text[done:cut])
        done = cut
        _turn(stack, name == branch, closing, tag)
    _write(stack, text[done:])
    if len(stack) > 1:
        raise MalformedOutput(f"<{branch if isinstance(stack[-1], Strand) else 'Parallel'}> is never closed")
    assert isinstance(stack[0], Strand)
    return stack[0]


def _turn(stack: list[Strand | Fork], is_branch: bool, closing: bool, tag: str) -> None:
    """Open or close what a tag opens or closes. Branches stand in forks, forks in strands."""
    top = stack[-1]
    if isinstance(top, Fork) is not (is_branch != closing) or (closing and len(stack) == 1):
        raise MalformedOutput(f"{tag} is out of place")
    if len(stack) > _MAX_DEPTH:
        raise MalformedOutput(f"{tag} is nested too deep")
    if closing and isinstance(top, Fork) and not top.branches:
        raise MalformedOutput("a parallel block holds no branch")
    if closing:
        stack.pop()
    elif isinstance(top, Fork):
        top.branches.append(Strand())
        stack.append(top.branches[-1])
    else:
        fork = Fork()
        top.parts.append(fork)
        stack.append(fork)


def _write(stack: list[Strand | Fork], text: str) -> None:
    """Text goes to the writer; inside a block but outside its branches, that is who forked."""
    if not text:
        return
    top = stack[-1]
    if isinstance(top, Strand):
        top.parts.append(text)
        return
    writer = stack[-2]
    assert isinstance(writer, Strand)
    if top.branches:
        writer.parts.append(text)
    else:
        writer.parts.insert(len(writer.parts) - 1, text)


def critical_tokens(sequence: Strand, count: Count) -> int:
    """Tokens that must be waited for: the texts, and the longest branch of each fork."""
    return sum(
        max((critical_tokens(branch, count) for branch in part.branches), default=0)
        if isinstance(part, Fork)
        else count(part)
        for part in sequence.parts
    )


def _all_tokens(sequence: Strand, count: Count) -> int:
    return sum(
        sum(_all_tokens(branch, count) for branch in part.branches) if isinstance(part, Fork) else count(part)
        for part in sequence.parts
    )


def _forks(parts: list[str | Fork]) -> list[Fork]:
    """All forks, the inner ones too."""
    found: list[Fork] = []
    for part in parts:
        if isinstance(part, Fork):
            found += [part, *(inner for branch in part.branches for inner in _forks(branch.parts))]
    return found
