"""Laws of counting, and the published counts reproduced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.errors import InputError
from sprint.published import published_counts
from sprint.tokenizer import ByteTokenizer, TiktokenTokenizer
from sprint.usage import (
    RoundCounts,
    Usage,
    barrier_tokens,
    paper_sequential_tokens,
    pipelined_tokens,
    written_tokens,
)


@st.composite
def round_counts(draw: st.DrawFn) -> RoundCounts:
    plan = draw(st.integers(0, 50))
    prefixes = sorted(draw(st.lists(st.integers(0, plan), max_size=5)))
    return RoundCounts(plan, tuple(prefixes), tuple(draw(st.integers(0, 50)) for _ in prefixes))


@given(st.lists(round_counts(), max_size=6), st.integers(0, 20))
def test_paper_at_most_pipelined_at_most_barrier_at_most_written(rounds: list[RoundCounts], final: int) -> None:
    paper, pipelined = paper_sequential_tokens(rounds), pipelined_tokens(rounds, final)
    barrier, written = barrier_tokens(rounds, final), written_tokens(rounds, final)
    assert paper <= pipelined <= barrier <= written


def test_the_four_counts_of_a_small_example_differ() -> None:
    rounds = [RoundCounts(20, (5, 15), (30, 10)), RoundCounts(7)]
    assert paper_sequential_tokens(rounds) == 35
    assert pipelined_tokens(rounds, 3) == 35 + 7 + 3
    assert barrier_tokens(rounds, 3) == 50 + 7 + 3
    assert written_tokens(rounds, 3) == 60 + 7 + 3


def test_usage_adds_up_and_what_is_unknown_stays_unknown() -> None:
    known, unknown = Usage(prompt_tokens=10, cached_prompt_tokens=4), Usage(prompt_tokens=5, cached_prompt_tokens=None)
    assert (known + known).cached_prompt_tokens == 8
    assert (known + unknown).cached_prompt_tokens is None
    assert (known + unknown).prompt_tokens == 15
    assert known.prefix_hit_rate == 0.4
    assert unknown.prefix_hit_rate is None


def test_usage_reads_back_from_json() -> None:
    usage = Usage(generated_tokens=3, cached_prompt_tokens=None, wall_s=0.5)
    assert Usage.from_dict(json.loads(json.dumps(usage.as_dict()))) == usage
    with pytest.raises(InputError, match="unknown entry 'latency'"):
        Usage.from_dict({"latency": 1})
    with pytest.raises(InputError, match="expected a number"):
        Usage.from_dict({"prompt_tokens": "many"})


def test_an_output_whose_executions_do_not_match_its_plan_is_not_countable() -> None:
    text = "<Plan_1>\na <prompt_1.1> x </prompt_1.1>\n</Plan_1>\n\n"
    text += "<Execution_1>\nNo prompt to execute.\n</Execution_1>\nend"
    assert not published_counts(text, ByteTokenizer().encode).countable


def test_the_published_outputs_are_counted_as_published(reference_data: Path) -> None:
    """60 outputs of the authors' model, all six numbers of each, with the Qwen BPE."""
    encode = TiktokenTokenizer(reference_data / "tokenizer" / "qwen.tiktoken").encode
    expected = _rows(reference_data / "reference" / "expected_token_counts.jsonl")
    outputs = _rows(reference_data / "reference" / "published_sprint_outputs.jsonl")
    assert len(outputs) == 60
    for id, row in outputs.items():
        counts = published_counts(row["reasoning"], encode)
        for name in PublishedNames:
            assert getattr(counts, name) == expected[id][name], (id, name)


PublishedNames = (
    "code_formula",
    "code_formula_plan",
    "code_formula_execution",
    "paper_formula",
    "countable",
    "generated_raw",
)


def _rows(path: Path) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}
