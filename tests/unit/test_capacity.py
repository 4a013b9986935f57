"""The tables of the capacity page: their arithmetic, and that the page holds what the command prints."""

from pathlib import Path

import pytest

from benchmarks.capacity import curation, curation_tokens, parsed, training
from benchmarks.simulation.reckoned import GPUS, QWEN_7B, QWEN_14B, Assumed, engine_options, step_times

PAGE = Path(__file__).parents[2] / "deploy" / "capacity.md"


@pytest.mark.parametrize("section", [curation, training], ids=["curation", "training"])
def test_the_page_holds_what_the_command_prints(section) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    page = PAGE.read_text(encoding="utf-8")
    for table in section(parsed([])):
        assert table in page, "python -m benchmarks.capacity prints other tables: put them into deploy/capacity.md"


def test_what_is_asked_for_again_is_paid_for_again() -> None:
    once, twice = (curation_tokens(parsed(["--asked-again", share])) for share in ("0", "1"))
    assert twice == pytest.approx([2 * tokens for tokens in once])


def test_a_token_in_the_kv_cache_takes_keys_and_values_of_every_layer() -> None:
    assert QWEN_7B.kv_bytes == 57_344


def test_steps_take_as_long_as_reading_the_weights_and_caches_takes() -> None:
    times = step_times(QWEN_7B, GPUS["H100"], Assumed(bandwidth=1.0, step_s=0.0, sequence_s=0.0))
    assert times.step_s(1, 0, 0) == pytest.approx(2 * 7.62e9 / 3.35e12)
    assert times.step_s(1, 0, 1000) - times.step_s(1) == pytest.approx(57_344_000 / 3.35e12)


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit one A100"):
        engine_options(QWEN_14B, GPUS["A100"], Assumed(memory=0.3))
