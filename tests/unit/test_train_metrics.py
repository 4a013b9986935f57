"""Laws of what a run tells about itself: its lines, trackers, picture and progress."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sprint.config import validate
from sprint.files import write_jsonl
from sprint.types import Kind
from train.config import TrainConfig
from train.faults import Fault, NotFinite, Watch
from train.flops import Work, peak_flops
from train.meter import Meter, counts_of, mean_losses
from train.plots import curves, draw
from train.progress import METRICS, progress_line
from train.trackers import TENSORBOARD, flat, open_trackers


@pytest.fixture(scope="module", autouse=True)
def alone() -> Any:
    """A group of one worker."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def config(folder: Path, **values: object) -> TrainConfig:
    settings: dict[str, object] = {"data": "data", "name": "run", "out": folder, **values}
    (folder / "run").mkdir(exist_ok=True)
    return validate(TrainConfig, settings, "options")


# --- lines -----------------------------------------------------------------------------------------------------------


def fields(kinds: list[int], padding: int = 0) -> dict[str, Any]:
    """A row that supervises what is of a kind, and some padding."""
    found = np.array([kinds + [0] * padding], dtype=np.int32)
    documents = np.array([[0] * len(kinds) + [-1] * padding], dtype=np.int32)
    return {"ids": found, "kinds": found, "labels": np.where(found > 0, 5, -100), "documents": documents}


@given(st.lists(st.sampled_from(list(Kind)), min_size=1), st.integers(0, 5))
def test_every_token_is_counted_once_and_padding_is_not_a_token(kinds: list[Kind], padding: int) -> None:
    counts = counts_of(fields([int(kind) for kind in kinds], padding))
    assert counts[: len(Kind)].sum() == sum(kind is not Kind.NONE for kind in kinds)
    assert all(counts[kind] == kinds.count(kind) for kind in Kind if kind is not Kind.NONE)
    assert counts[len(Kind) :].tolist() == [len(kinds), len(kinds) + padding]


def test_the_loss_is_the_mean_over_tokens_whatever_their_kind() -> None:
    found = mean_losses([0.0, 6.0, 2.0, 0.0, 0.0], [0, 3, 4, 0, 0])
    assert found == {"loss": pytest.approx(8 / 7), "losses": {"plan": 2.0, "execution": 0.5}}


def test_a_line_says_what_happened_since_the_last_one(tmp_path: Path) -> None:
    meter = Meter(config(tmp_path, tracking={"tensorboard": False}), 9, 0, torch.device("cpu"))
    losses = torch.tensor([0.0, 4.0, 6.0, 0.0, 0.0])
    with meter.running(0):
        meter.add(losses, fields([1, 1, 2, 0], padding=1))
        meter.norm(2.5)
        meter.log(1, 0.1)
        meter.add(losses / 2, fields([1, 1, 2, 0]))
        meter.log(2, 0.1, {"validation": {"loss": 1.0}})
    first, second = (line for line in lines(tmp_path))
    assert first["losses"] == {"plan": 2.0, "execution": 6.0}
    assert (first["loss"], second["loss"]) == (pytest.approx(10 / 3), pytest.approx(5 / 3))
    assert (first["tokens"], second["tokens"]) == (4, 8)
    assert (first["supervised_tokens"], second["supervised_tokens"]) == (3, 6)
    assert (first["padding"], second["padding"]) == (0.2, 0.0)
    assert (first["gradient_norm"], second["validation"]) == (2.5, {"loss": 1.0})
    assert 0 < first["memory_gib"] < 1000
    assert "mfu" not in first


def lines(folder: Path) -> list[dict[str, Any]]:
    from train.progress import whole_lines

    return whole_lines(folder / "run" / METRICS)


def test_lines_after_a_checkpoint_are_taken_back(tmp_path: Path) -> None:
    settings = config(tmp_path, tracking={"tensorboard": False})
    write_jsonl(settings.folder / METRICS, [{"step": step} for step in (1, 2, 3)])
    with Meter(settings, 9, 0, torch.device("cpu")).running(2):
        pass
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_a_progress_line_tells_kinds_and_the_held_out_loss() -> None:
    line = {"step": 1, "steps": 2, "loss": 1.5, "tokens_per_s": 10.0, "seconds": 2.0}
    line |= {"losses": {"plan": 1.0, "answer": 2.0}, "validation": {"loss": 1.25}}
    said = progress_line(line)
    assert "loss 1.5000 (plan 1.000, answer 2.000)  validation 1.2500" in said


# --- trackers --------------------------------------------------------------------------------------------------------


def events(folder: Path) -> list[tuple[int, str, float]]:
    """What stands in TensorBoard's files: length-framed records of protocol buffers."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            [length] = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def test_tensorboard_holds_the_numbers_of_a_line(tmp_path: Path) -> None:
    settings = config(tmp_path)
    [tracker] = open_trackers(settings, 0)
    tracker.log(3, flat({"step": 3, "steps": 9, "loss": 0.5, "losses": {"plan": 0.25}, "name": "x", "norm": None}))
    tracker.close()
    assert events(settings.folder / TENSORBOARD) == [(3, "loss", 0.5), (3, "losses/plan", 0.25)]


def test_wandb_keeps_one_run_of_ours_one_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    run = SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: told.append("finished"))
    fake = SimpleNamespace(init=lambda **settings: told.append(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    [tracker] = open_trackers(config(tmp_path, tracking={"tensorboard": False, "wandb": "project"}), 4)
    tracker.log(5, {"loss": 0.5})
    tracker.close()
    begun = told.pop(0)
    assert (begun["project"], begun["id"], begun["resume"]) == ("project", "run", "allow")
    assert told == [(5, {"loss": 0.5}), "finished"]


# --- the picture -----------------------------------------------------------------------------------------------------


def test_the_picture_has_a_curve_for_each_kind_of_token(tmp_path: Path) -> None:
    drawn = [{"step": i, "loss": 1 / i, "losses": {"plan": 2 / i}, "learning_rate": 0.1} for i in (1, 2, 3)]
    drawn[1]["validation"] = {"loss": 0.7}
    assert curves(drawn) == {
        "all": [(1, 1.0), (2, 0.5), (3, 1 / 3)],
        "plan": [(1, 2.0), (2, 1.0), (3, 2 / 3)],
        "validation": [(2, 0.7)],
    }
    write_jsonl(tmp_path / METRICS, drawn)
    draw(tmp_path)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "loss.svg").read_text(encoding="utf-8")


def test_a_run_without_lines_has_no_picture(tmp_path: Path) -> None:
    assert draw(tmp_path) is None


# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA RTX A4000", None),
    ],
)
def test_a_device_is_known_by_its_whole_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_frozen_weights_and_tokens_without_a_label_cost_less() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    lm = Qwen2ForCausalLM(Qwen2Config(vocab_size=50, num_key_value_heads=2, tie_word_embeddings=False, **shape))
    body = sum(p.numel() for p in lm.model.parameters()) - 50 * 16
    assert Work(lm).flops(10, 3) == 6 * (body * 10 + 50 * 16 * 3)
    lm.model.requires_grad_(False)
    assert Work(lm).flops(10, 3) == 4 * body * 10 + 6 * 50 * 16 * 3


# --- faults ----------------------------------------------------------------------------------------------------------


class Order:
    """Step s reads rows 10 s and 10 s + 1, one a micro step."""

    world, accumulation = 1, 2

    def worker_rows(self, step: int, rank: int) -> list[list[int]]:
        return [[10 * step], [10 * step + 1]]

    def step_rows(self, step: int) -> list[int]:
        return [10 * step, 10 * step + 1]


@pytest.mark.parametrize(
    ("losses", "norms", "fault"),
    [
        ([1, 1, 1, float("nan")], [1, float("nan")], Fault("loss", 9, (81,))),
        ([1, 1, float("inf"), 1], [1, float("inf")], Fault("loss", 9, (80,))),
        ([1, 1, 1, 1], [float("inf"), 1], Fault("gradient", 8, (70, 71))),
        ([1, 1, float("nan"), 1], [float("inf"), 1], Fault("gradient", 8, (70, 71))),
    ],
)
def test_the_first_number_that_is_none_is_named(losses: list[float], norms: list[float], fault: Fault) -> None:
    watch = Watch(Order(), torch.device("cpu"))
    watch.look(7)
    for loss in losses:
        watch.loss(torch.tensor(loss))
    for norm in norms:
        watch.norm(norm)
    with pytest.raises(NotFinite) as caught:
        watch.look(9)
    assert caught.value.fault == fault


def test_a_fault_comes_back_from_disk_and_can_be_forgotten(tmp_path: Path) -> None:
    assert Fault.load(tmp_path) is None
    fault = Fault("loss", 3, (1, 2))
    fault.save(tmp_path)
    assert Fault.load(tmp_path) == fault
    fault.forget(tmp_path)
    assert Fault.load(tmp_path) is None
