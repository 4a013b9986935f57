"""What every worker runs: a DeepSpeed engine, steps over its share of the rows, checkpoints, and the final weights.

It is started by Ray Train in each worker process; the driver (`train.run`) has checked everything beforehand.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from typing import Any

from sprint.card import ModelCard
from sprint.errors import SprintError
from train.checkpoints import Checkpoints
from train.config import Precision, TrainConfig
from train.faults import NotFinite, Watch
from train.files import put_folder
from train.format_check import FormatCheck
from train.process import prepare_process
from train.validation import BEST, HELD_OUT, Stopping, Validation
from train.weighting import step_weight
from train.weights import save_weights

ROWS = "rows"
WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Job:
    """What the driver decided: `start` is the folder or hub name of the model, the counts are in optimizer steps."""

    config: TrainConfig
    start: str
    micro_rows: int
    steps: int
    checkpoint_every: int
    card: ModelCard


def worker(job: Job) -> None:
    """The training function of one worker.

    It returns as usual when a loss is no finite number, as another try would meet the same one: the driver reads why.
    """
    prepare_process(job.config)
    trainer = _Trainer(job)
    trainer.resume()
    try:
        trainer.run()
    except NotFinite as error:
        if trainer.rank == 0:
            error.fault.save(job.config.folder)


class _Trainer:
    """One worker's engine and its place in the data."""

    def __init__(self, job: Job) -> None:
        import ray.train
        import torch

        from train.attention import resolve
        from train.data import Order, Rows
        from train.engine import make_engine
        from train.flops import Work
        from train.meter import Meter
        from train.options import Attention

        self.job, self.config = job, job.config
        config = job.config
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.device = torch.device("cuda", torch.cuda.current_device()) if config.use_gpu else torch.device("cpu")
        self.rows = Rows(config.folder / ROWS)
        fp32 = config.precision is Precision.FP32
        attention = resolve(config.attention, self.rows.has_branches, config.use_gpu, fp32)
        self.rows.whole = attention is Attention.FLEX
        self.order = Order(len(self.rows), job.micro_rows, config.accumulation, self.world, seed=config.seed)
        self.step = 0
        self.engine, self._keep = make_engine(config, job.start, job.micro_rows, attention)
        self.peaks = [float(group["lr"]) for group in self.engine.optimizer.param_groups]
        self.meter = Meter(config, job.steps, self.rank, self.device, Work(self.engine.module.lm))
        self.watch = Watch(self.order, self.device)
        self.validation = self._validation()
        self.check = FormatCheck(config, job.start, job.card, self.rank) if config.check.every else None
        self.stopping = Stopping(config.validation)
        keep_best = config.validation.keep if config.validation.share else 0
        self.checkpoints = Checkpoints(config.folder, config.keep_checkpoints, keep_best, config.seed)

    def _validation(self) -> Validation | None:
        from train.data import Rows

        if not self.config.validation.share:
            return None
        rows = Rows(self.config.folder / HELD_OUT, whole=self.rows.whole)
        return Validation(rows, self.job.micro_rows, self.rank, self.world)

    # --- steps -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the end, with checkpoints on the way, and leave the weights in the run's folder.

        Raises NotFinite, in every worker, when a loss or a gradient is no finite number; the checkpoints are then good.
        """
        self.engine.train()
        with self.meter.running(self.step):
            while self.step < self.job.steps and not self.stopping.is_over:
                self._optimizer_step()
                self.step += 1
                self._after_step()
        self._leave_weights()

    def _optimizer_step(self) -> None:
        """One step over this worker's micro batches.

        The loss of a micro batch is its sum over supervised tokens, divided by those of the whole step. DeepSpeed
        averages over workers and micro steps, so it is multiplied by their number: every supervised token weighs alike.
        """
        from train.engine import gradient_norm
        from train.optim import rate_factor, set_rate

        set_rate(self.engine.optimizer, self.peaks, rate_factor(self.config, self.step, self.job.steps))
        everyone = self.order.step_rows(self.step)
        weight = step_weight(int(self.rows.supervised[everyone].sum()), self.world, self.config.accumulation)
        for indices in self.order.worker_rows(self.step, self.rank):
            fields = self.rows.take(indices)
            loss = self.engine(self._batch(fields), bool(self.rows.plain[indices].all()))
            self.engine.backward(loss * weight)
            self.engine.step()
            self.watch.loss(loss.detach())
            self.meter.add(self.engine.module.by_kind, fields)
        norm = gradient_norm(self.engine)
        self.meter.norm(norm)
        self.watch.norm(0.0 if norm is None else norm)

    def _batch(self, fields: dict[str, Any]) -> dict[str, Any]:
        import torch

        return {name: torch.from_numpy(array).long().to(self.device) for name, array in fields.items()}

    # --- between steps -----------------------------------------------------------------------------------------------

    def _after_step(self) -> None:
        """What is due now: evaluations, a line, a checkpoint. A line's losses never reach across a checkpoint."""
        saving = self._is_due(self.job.checkpoint_every)
        validating = self._is_due(self.config.validation.every) if self.config.validation.every else saving
        found: dict[str, Any] = {}
        checking = self.check is not None and self.step % self.check.every == 0
        if saving or validating or checking or self.step % self.config.log_every == 0:
            self.watch.look(self.step)
            if self.validation and validating:
                found["validation"] = self._validate(self.validation)
            if self.check and checking:
                with self.meter.paused():
                    found["check"] = self.check.look(self.engine.module.lm)
            self.meter.log(self.step, self.engine.optimizer.param_groups[-1]["lr"], found)
        if saving or self.stopping.is_over:
            state = {"step": self.step, "meter": self.meter.state(), "stopping": self.stopping.state()}
            self.checkpoints.save(self.engine, self.step, state, found.get("validation", {}).get("loss"))

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.job.steps

    def _validate(self, validation: Validation) -> dict[str, Any]:
        """Losses on the held-out rows; the weights are kept when they are the best and are to be exported."""
        with self.meter.paused():
            found = validation.losses(self.engine, self._batch)
            if not math.isfinite(found["loss"]):
                raise SprintError(f"the validation loss of step {self.step} is not a finite number")
            if self.stopping.is_better(found["loss"]) and self.config.validation.export == "best":
                save_weights(self.engine, self.config.folder / BEST)
        return found

    def _leave_weights(self) -> None:
        folder = self.config.folder
        if self.config.validation.export == "last":
            save_weights(self.engine, folder / WEIGHTS)
        elif self.rank == 0:
            with put_folder(folder / WEIGHTS) as draft:  # not into it: an exported model may be the same files
                shutil.copytree(folder / BEST, draft, dirs_exist_ok=True)

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one: weights, optimizer, random numbers, step and counts."""
        state = self.checkpoints.restore(self.engine)
        if state is not None:
            self.step = int(state["step"])
            self.meter.restore(state["meter"])
            self.stopping.restore(state["stopping"])
