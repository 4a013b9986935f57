"""Laws of the held-out examples, of stopping early, and of what a run may not be told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.card import Method
from sprint.config import validate
from sprint.errors import ConfigError
from train.config import TrainConfig
from train.options import ValidationConfig
from train.reading import Curated
from train.refusals import check_settings
from train.validation import Stopping, is_held_out, split


def config(**values: object) -> TrainConfig:
    settings: dict[str, object] = {"data": "data", "name": "run", "start": "model"}
    return validate(TrainConfig, settings | values, "options")


def curated(ids: list[str]) -> Curated:
    return Curated(tuple(ids), tuple(f"q{id}" for id in ids), tuple(f"t{id}" for id in ids), Method.RFT)


# --- the split -------------------------------------------------------------------------------------------------------


@given(st.sets(st.text(), min_size=30, max_size=60), st.integers(0, 5))
def test_an_example_is_held_out_or_trained_on_whatever_else_is_in_the_set(ids: set[str], seed: int) -> None:
    names = sorted(ids)
    settings = config(seed=seed, validation={"share": 0.5})
    training, held = split(curated(names), settings)
    assert held is not None
    assert sorted(training.ids + held.ids) == names
    assert all(is_held_out(id, seed, 0.5) for id in held.ids)
    assert [*zip(held.ids, held.questions, held.texts, strict=True)] == [(id, f"q{id}", f"t{id}") for id in held.ids]
    fewer, still = split(curated(names[:-1]), settings)
    assert still is not None
    assert set(fewer.ids) <= set(training.ids)
    assert set(still.ids) <= set(held.ids)


def test_about_the_share_is_held_out_and_another_seed_chooses_others() -> None:
    ids = [f"trace-{i}" for i in range(4000)]
    held = [[id for id in ids if is_held_out(id, seed, 0.1)] for seed in (0, 1)]
    assert all(0.08 < len(found) / len(ids) < 0.12 for found in held)
    assert len(set(held[0]) & set(held[1])) < 0.3 * len(held[0])


def test_without_a_share_everything_is_trained_on() -> None:
    assert split(curated(["a", "b"]), config()) == (curated(["a", "b"]), None)


def test_a_share_that_holds_out_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^validation.share = 0.001 of 3 examples holds out 0, expected some"):
        split(curated(["a", "b", "c"]), config(validation={"share": 0.001}))


# --- stopping --------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 9), max_size=20), st.integers(1, 4), st.integers(0, 20))
def test_it_is_over_when_the_lowest_loss_is_as_old_as_patience_allows(
    losses: list[float], patience: int, cut: int
) -> None:
    stopping = Stopping(ValidationConfig(share=0.1, patience=patience))
    for number, loss in enumerate(losses):
        if number == cut:  # a run that is gone on with remembers
            state, stopping = stopping.state(), Stopping(ValidationConfig(share=0.1, patience=patience))
            stopping.restore(state)
        assert stopping.is_better(loss) == (loss < min(losses[:number], default=math.inf))
        best = losses.index(min(losses[: number + 1]))
        assert stopping.is_over == (number - best >= patience)


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    stopping = Stopping(ValidationConfig(share=0.1, patience=1))
    assert not stopping.is_better(math.nan)
    assert stopping.is_over


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"zero_stage": 0, "offload": {"optimizer": "cpu"}}, "offload: optimizer = cpu needs zero_stage 1, 2 or 3"),
        ({"zero_stage": 2, "offload": {"optimizer": "nvme", "nvme": "x"}}, "optimizer = nvme needs zero_stage 3"),
        ({"zero_stage": 2, "offload": {"parameters": "cpu"}}, "offload: parameters = cpu needs zero_stage 3, found 2"),
        ({"optimizer": "muon", "offload": {"optimizer": "cpu"}}, "offload: muon steps on the device"),
        ({"optimizer": "muon", "lora": {"rank": 4}}, "lora: adapters are not for muon, expected optimizer adamw"),
        ({"start": "scratch", "lora": {"rank": 4}}, "lora: start is scratch, expected a trained model to adapt"),
        ({"lora": {"alpha": 4}}, "lora.alpha is given without lora.rank, expected a rank too"),
        ({"cross_entropy": "liger"}, "cross_entropy: liger runs on GPU only, expected chunked"),
        ({"tracking": {"wandb": "x"}}, "tracking.wandb: the package wandb is not installed"),
    ],
)
def test_what_cannot_work_together_is_one_clear_sentence(
    values: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.util import find_spec

    import train.refusals

    monkeypatch.setattr(train.refusals, "find_spec", lambda name: None if name == "wandb" else find_spec(name))
    with pytest.raises(ConfigError) as caught:
        check_settings(config(**values))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"zero_stage": 1, "offload": {"optimizer": "cpu"}},
        {"zero_stage": 3, "offload": {"optimizer": "cpu", "parameters": "cpu"}},
        {"lora": {"rank": 8, "alpha": 16, "targets": ["q_proj"]}},
    ],
)
def test_what_can_work_together_is_taken(values: dict[str, object]) -> None:
    check_settings(config(**values))
