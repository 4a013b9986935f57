"""What every worker runs: a DeepSpeed engine, steps over its share of the rows, checkpoints, and the final weights.

It is started by Ray Train in each worker process; the driver (`train.run`) has checked everything beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from train import checkpoints
from train.config import Precision, TrainConfig
from train.process import prepare_process
from train.progress import METRICS
from train.zero import before_loading, engine_config

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


def worker(job: Job) -> None:
    """The training function of one worker."""
    prepare_process(job.config)
    trainer = _Trainer(job)
    trainer.resume()
    trainer.run()


class _Trainer:
    """One worker's engine and its place in the data."""

    def __init__(self, job: Job) -> None:
        import deepspeed
        import ray.train
        import torch

        from train.data import Order, Rows
        from train.meter import Meter
        from train.models import SupervisedLoss, load
        from train.optim import make_optimizer

        self.job, self.config = job, job.config
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.rows = Rows(self.config.folder / ROWS)
        self.order = Order(len(self.rows), job.micro_rows, self.config.accumulation, self.world, seed=self.config.seed)
        self.step = 0
        self.device = torch.device("cuda", torch.cuda.current_device()) if self.config.use_gpu else torch.device("cpu")
        settings = engine_config(self.config, job.micro_rows, 0)
        self._keep = before_loading(self.config, settings)
        lm = load(job.start, self.config.precision is Precision.BF16, self.config.gradient_checkpointing)
        model = SupervisedLoss(lm, self.config.precision is Precision.AUTOCAST)
        settings = engine_config(self.config, job.micro_rows, sum(p.numel() for p in model.parameters()))
        optimizer = make_optimizer(model, self.config)
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self.engine: Any = deepspeed.initialize(
            model=model, model_parameters=model.parameters(), optimizer=optimizer, config=settings
        )[0]
        self.meter = Meter(self.config.folder / METRICS, job.steps, self.rank, self.device)

    # --- steps -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the end, with checkpoints on the way, and leave the weights in the run's folder."""
        self.engine.train()
        self.meter.begin(self.step)
        while self.step < self.job.steps:
            self._optimizer_step()
            self.step += 1
            saving = self.step % self.job.checkpoint_every == 0 or self.step == self.job.steps
            if saving or self.step % self.config.log_every == 0:  # a line's losses never reach across a checkpoint
                self.meter.log(self.step, self.engine.optimizer.param_groups[-1]["lr"])
            if saving:
                self._checkpoint()
        checkpoints.save_weights(self.engine, self.config.folder / WEIGHTS, self.rank, self.config.zero_stage)

    def _optimizer_step(self) -> None:
        """One step over this worker's micro batches.

        The loss of a micro batch is its sum over supervised tokens, divided by those of the whole step. DeepSpeed
        averages over workers and micro steps, so it is multiplied by their number: every supervised token weighs alike.
        """
        from train.optim import rate_factor, set_rate

        set_rate(self.engine.optimizer, self.peaks, rate_factor(self.config, self.step, self.job.steps))
        everyone = self.order.step_rows(self.step)
        supervised = int(self.rows.supervised[everyone].sum())
        weight = self.world * self.config.accumulation / max(1, supervised)
        for indices in self.order.worker_rows(self.step, self.rank):
            loss = self.engine(self._batch(indices), bool(self.rows.plain[indices].all()))
            self.engine.backward(loss * weight)
            self.engine.step()
            self.meter.add(loss.detach())
        self.meter.count(int(self.rows.lengths[everyone].sum()), supervised)

    def _batch(self, indices: list[int]) -> dict[str, Any]:
        import torch

        fields = self.rows.take(indices)
        return {name: torch.from_numpy(array).long().to(self.device) for name, array in fields.items()}

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one: weights, optimizer, step and counts."""
        state = checkpoints.restore(self.engine)
        if state is not None:
            self.step = int(state["step"])
            self.meter.restore(state["meter"])

    def _checkpoint(self) -> None:
        state = {"step": self.step, "meter": self.meter.state()}
        checkpoints.save(self.engine, state, {"step": self.step})
