"""Skeleton-of-Thought: outline, points beside each other, extraction; what it waits for and what it reads."""

from pathlib import Path
from typing import Any

import pytest

from sprint.evals.methods.skeleton import NO_OUTLINE, points_of, said
from tests.unit.answering import answer, skeleton
from tests.unit.scripted_endpoint import asked


def test_the_points_of_an_outline_are_written_beside_each_other(tmp_path: Path) -> None:
    found, endpoint = answer(tmp_path, skeleton, method="sot-chat")
    assert endpoint.most_in_flight == 3
    assert found.text == "It is \\boxed{5}."
    assert [call["kind"] for call in found.calls] == ["plan", *["execution"] * 3, "final"]
    assert "2. add them\n5 in all" in found.reasoning


def test_skeleton_of_thought_waits_for_outline_longest_point_and_extraction(tmp_path: Path) -> None:
    found, endpoint = answer(tmp_path, skeleton, method="sot-chat")
    outline, *points, last = [len(skeleton(body)) for body in endpoint.bodies]
    usage = found.usage
    assert usage.pipelined_tokens == outline + max(points) + last
    assert usage.generated_tokens == outline + sum(points) + last
    assert (usage.num_rounds, usage.num_executions, usage.join_prefill_tokens) == (1, 3, None)


def test_a_reasoning_models_thoughts_are_counted_and_shown_to_no_later_call(tmp_path: Path) -> None:
    def thinking(body: dict[str, Any]) -> str:
        return "<think>1. secret\n2. thoughts</think>\n" + skeleton(body)

    found, endpoint = answer(tmp_path, thinking, method="sot-reasoning")
    assert not any("secret" in asked(body) for body in endpoint.bodies)
    assert found.usage.num_executions == 3
    assert found.usage.generated_tokens == sum(len(thinking(body)) for body in endpoint.bodies)


def test_an_outline_without_points_is_read_for_the_answer(tmp_path: Path) -> None:
    def blunt(body: dict[str, Any]) -> str:
        return "they are 4 and 1, so 5" if "Do not answer yet" in asked(body) else skeleton(body)

    found, endpoint = answer(tmp_path, blunt, method="sot-chat")
    assert (len(endpoint.bodies), found.stop_reason, found.usage.num_executions) == (2, NO_OUTLINE, 0)
    assert found.text == "It is \\boxed{5}."


def test_an_outline_has_at_most_so_many_points(tmp_path: Path) -> None:
    def long(body: dict[str, Any]) -> str:
        outline = "\n".join(f"{n}. point {n}" for n in range(1, 20))
        return outline if "Do not answer yet" in asked(body) else skeleton(body)

    found, _ = answer(tmp_path, long, method="sot-chat", points=4)
    assert found.usage.num_executions == 4


@pytest.mark.parametrize(
    ("outline", "points"),
    [
        ("1. a\n2. b", ["a", "b"]),
        ("Outline:\n\n**1.** a\n - 2) b: c\n", ["a", "b: c"]),
        ("2. late\n1. a\n3. skipped\n2. b", ["a", "b"]),
        ("no list at all, 3.5 of it", []),
        ("", []),
    ],
)
def test_points_are_the_lines_numbered_from_one(outline: str, points: list[str]) -> None:
    assert points_of(outline) == points


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("<think>a</think>\nb", "b"),
        ("a</think>b</think>c", "c"),
        ("b", "b"),
        ("<think>never ended", "<think>never ended"),
        ("all thought</think>", "all thought"),
    ],
)
def test_what_is_said_is_what_follows_the_thoughts(written: str, rest: str) -> None:
    assert said(written) == rest
