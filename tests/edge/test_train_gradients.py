"""The gradient of two DeepSpeed workers that accumulate is that of one process on the same tokens, at every ZeRO stage.

The workers run the trainer's own step over packed rows in which supervised tokens lie unevenly; only Ray's word for who
is who is replaced. One pair of processes serves all stages, and the wrong weightings that must not pass.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from sprint.config import validate
from sprint.render import trajectory_text
from sprint.types import Execution, Round, Trajectory
from tests.edge.learning import write_beginning
from train import loop
from train import run as driver
from train.config import TrainConfig
from train.data import Order, Rows
from train.loop import Job
from train.memory import Batch, memory_of
from train.models import SupervisedLoss, load
from train.process import prepare_process
from train.reading import read_curated
from train.shape import shape_of
from train.weighting import step_weight

WORLD, ACCUMULATION, MICRO_ROWS = 2, 2, 2
STAGES = (0, 1, 2, 3)
LIMIT = 1e-5
Gradients = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Found:
    """What a worker found: gradients by case, supervised tokens by micro step, bytes it held at each ZeRO stage."""

    gradients: dict[str, Gradients]
    supervised: list[int]
    held: list[int]


def settings(folder: Path, stage: int) -> TrainConfig:
    values = {
        "data": folder / "data",
        "start": str(folder / "start"),
        "out": folder,
        "name": "run",
        "precision": "fp32",
        "zero_stage": stage,
        "workers": WORLD,
        "accumulation": ACCUMULATION,
        "micro_rows": MICRO_ROWS,
        "max_steps": 1,
    }
    return validate(TrainConfig, values, "options")


def text(i: int) -> str:
    """Answers of very different lengths, in one to three branches."""
    said = " ".join(f"{n}+{i}={n + i}" for n in range(1 + 3 * (i % 4)))
    prompts = range(1, 2 + i % 3)
    plan = "\n".join(f"<prompt_1.{k}> add {k} </prompt_1.{k}>" for k in prompts)
    return trajectory_text(Trajectory((Round(plan, tuple(Execution(said) for _ in prompts)),), f"\\boxed{{{i}}}"))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A start model, packed rows of it, and what the driver would tell its workers."""
    folder = tmp_path_factory.mktemp("gradients")
    rows = [{"id": str(i), "question": f"sums of {i}?", "method": "sprint", "text": text(i)} for i in range(23)]
    write_beginning(folder, rows)
    config = settings(folder, 0)
    curated = read_curated(config.data)
    return driver.make_rows(config, curated, curated, None)[0]


@pytest.fixture(scope="module")
def expected(job: Job) -> Gradients:
    """The gradient of the mean loss over every supervised token of the step, taken by autograd in this process."""
    config = job.config
    rows = Rows(config.folder / "rows")
    chosen = Order(len(rows), MICRO_ROWS, ACCUMULATION, WORLD, config.seed).step_rows(0)
    model = SupervisedLoss(load(config.start, bf16=False, checkpointing=False), autocast=False)
    batch = {name: torch.from_numpy(array).long() for name, array in rows.take(chosen).items()}
    logits, labels = model.logits(batch, plain=False)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


# --- in the workers --------------------------------------------------------------------------------------------------


def trainer_of(job: Job, stage: int, rank: int) -> Any:
    import ray.train

    me = SimpleNamespace(get_world_rank=lambda: rank, get_world_size=lambda: WORLD)
    ray.train.get_context = lambda: me  # type: ignore[assignment,return-value]
    return loop._Trainer(replace(job, config=settings(job.config.out, stage)))


def held_bytes() -> int:
    """Bytes of all tensors in this process, each storage once."""
    gc.collect()
    tensors = [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]
    return sum({found.untyped_storage().data_ptr(): found.untyped_storage().nbytes() for found in tensors}.values())


def gradients(trainer: Any) -> Gradients:
    """The gradients that the trainer's step hands to the optimizer."""
    from deepspeed.utils import safe_get_full_grad

    found: Gradients = {}
    advance = trainer.engine.step

    def step() -> None:
        if trainer.engine.is_gradient_accumulation_boundary():
            for name, p in trainer.engine.module.named_parameters():
                found[name] = safe_get_full_grad(p).clone()
        advance()

    trainer.engine.step = step
    trainer._optimizer_step()
    return found


def supervised_of(trainer: Any) -> list[int]:
    """Supervised tokens in each of this worker's micro steps."""
    micro_steps = trainer.order.worker_rows(0, trainer.rank)
    return [int(trainer.rows.supervised[indices].sum()) for indices in micro_steps]


def alike_by_worker(trainer: Any) -> None:
    """A common mistake: every worker's mean weighs alike."""
    mine = sum(supervised_of(trainer))
    loop.step_weight = lambda supervised, world, accumulation: accumulation / mine


def alike_by_micro_step(trainer: Any) -> None:
    """Another: every micro step's mean weighs alike."""
    loop.step_weight = lambda supervised, world, accumulation: 1.0
    counts, backward = iter(supervised_of(trainer)), trainer.engine.backward
    trainer.engine.backward = lambda loss: backward(loss / next(counts))


MISTAKES: dict[str, Callable[[Any], None]] = {
    "every worker's mean alike": alike_by_worker,
    "every micro step's mean alike": alike_by_micro_step,
}


def work(rank: int, port: int, job: Job) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(WORLD)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "DS_ACCELERATOR": "cpu"}
    prepare_process(job.config)
    found: dict[str, Gradients] = {}
    for mistake, make in MISTAKES.items():
        trainer = trainer_of(job, 0, rank)
        make(trainer)
        found[mistake] = gradients(trainer)
    loop.step_weight = step_weight
    held = []
    for stage in STAGES:
        del trainer
        before = held_bytes()
        trainer = trainer_of(job, stage, rank)
        taken = gradients(trainer)
        held.append(held_bytes() - before - sum(g.nbytes for g in taken.values()))
        found[f"stage {stage}"] = taken
    torch.save(Found(found, supervised_of(trainer), held), job.config.out / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def workers(job: Job) -> list[Found]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, job), nprocs=WORLD)
    return [torch.load(job.config.out / f"rank{rank}.pt", weights_only=False) for rank in range(WORLD)]


# --- the laws --------------------------------------------------------------------------------------------------------


def differences(found: Gradients, expected: Gradients) -> dict[str, float]:
    """The relative distance of each parameter's gradient from the expected one."""
    plain = {name.removeprefix("module."): value for name, value in found.items()}
    assert plain.keys() == expected.keys()
    return {name: float((plain[name] - g).norm() / g.norm()) for name, g in expected.items()}


def test_supervised_tokens_lie_unevenly(workers: list[Found]) -> None:
    counts = np.array([found.supervised for found in workers])
    assert len(set(counts.ravel())) > WORLD
    assert counts.sum(axis=1)[0] != counts.sum(axis=1)[1]


@pytest.mark.parametrize("stage", STAGES)
def test_workers_that_accumulate_have_the_gradient_of_one_process(
    expected: Gradients, workers: list[Found], stage: int
) -> None:
    for found in workers:
        assert max(differences(found.gradients[f"stage {stage}"], expected).values()) <= LIMIT


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_weighting_does_not_pass(expected: Gradients, workers: list[Found], mistake: str) -> None:
    assert min(max(differences(found.gradients[mistake], expected).values()) for found in workers) > 100 * LIMIT


@pytest.mark.parametrize("stage", STAGES)
def test_the_estimate_of_weights_and_optimizer_states_is_what_a_worker_holds(
    job: Job, workers: list[Found], stage: int
) -> None:
    config = settings(job.config.out, stage)
    shape = shape_of(AutoConfig.from_pretrained(job.start), config)
    parts = memory_of(config, shape, Batch(MICRO_ROWS, 512, masked=True)).parts
    expected = parts["weights"] + parts["optimizer"]
    if stage == 3:  # it keeps buffers of gradients between steps, and no weights whole
        expected += parts["gradients"] + parts["communication"] - shape.parameters * 4 / WORLD
    assert [found.held[stage] for found in workers] == pytest.approx([expected] * WORLD, rel=0.03)
