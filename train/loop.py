"""What every worker runs: a DeepSpeed engine, steps over its share of the rows, checkpoints, and the final weights.

It is started by Ray Train in each worker process; the driver (`train.run`) has checked everything beforehand.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

from train.config import Precision, TrainConfig
from train.progress import METRICS

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
    _prepare_process(job.config)
    trainer = _Trainer(job)
    trainer.resume()
    trainer.run()


def environment(config: TrainConfig) -> dict[str, str]:
    """Environment of a worker process.

    On CPU a worker computes with its own threads only, as spinning OpenMP threads steal from the other workers.
    """
    values = {"TOKENIZERS_PARALLELISM": "false"}
    if not config.use_gpu:
        values |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(config.threads)}
    return values


def _prepare_process(config: TrainConfig) -> None:
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(config.seed)
    if not config.use_gpu:
        torch.set_num_threads(config.threads)
    import deepspeed
    import deepspeed.ops

    # On Linux DeepSpeed would compile a shared-memory collective here, for minutes; plain gloo serves.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if config.use_gpu else "gloo", verbose=False)


def engine_config(job: Job, num_parameters: int) -> dict[str, Any]:
    """DeepSpeed's configuration. Buckets are no larger than the model, as they are allocated whole."""
    config = job.config
    bucket = max(1, min(int(5e8), num_parameters))
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        "overlap_comm": config.use_gpu,
        "sub_group_size": int(1e12),  # one piece per parameter group, as Muon expects
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    return {
        "train_micro_batch_size_per_gpu": job.micro_rows,
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": config.clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": config.precision is Precision.BF16},
        "steps_per_print": 2**31,
    }


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
        settings = engine_config(job, 0)
        self._keep = self._before_loading(settings)
        lm = load(job.start, self.config.precision is Precision.BF16, self.config.gradient_checkpointing)
        model = SupervisedLoss(lm, self.config.precision is Precision.AUTOCAST)
        settings = engine_config(job, sum(p.numel() for p in model.parameters()))
        optimizer = make_optimizer(model, self.config)
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self.engine: Any = deepspeed.initialize(
            model=model, model_parameters=model.parameters(), optimizer=optimizer, config=settings
        )[0]
        self.meter = Meter(self.config.folder / METRICS, job.steps, self.rank, self.device)

    def _before_loading(self, settings: dict[str, Any]) -> object:
        """Under ZeRO-3 weights are split while they are read; `transformers` asks this object, kept alive, about it.

        It does so through `accelerate`; without that package every worker reads the whole model and then splits it.
        """
        if self.config.zero_stage < 3 or importlib.util.find_spec("accelerate") is None:
            return None
        from transformers.integrations import HfDeepSpeedConfig

        return HfDeepSpeedConfig(settings)

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
        self._save_weights()

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
        import ray.train

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            path, state = self.engine.load_checkpoint(os.path.join(folder, "engine"))
        assert path is not None, "a checkpoint without an engine"
        self.step = int(state["step"])
        self.meter.restore(state["meter"])

    def _checkpoint(self) -> None:
        import ray.train
        from ray.train import Checkpoint

        state = {"step": self.step, "meter": self.meter.state()}
        folder = tempfile.mkdtemp()
        try:
            self.engine.save_checkpoint(os.path.join(folder, "engine"), client_state=state)
            ray.train.report({"step": self.step}, checkpoint=Checkpoint.from_directory(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _save_weights(self) -> None:
        """Rank 0 writes the weights; under ZeRO-3 all ranks take part in gathering them."""
        if self.config.zero_stage == 3:
            weights = self.engine._zero3_consolidated_16bit_state_dict()
        else:
            weights = self.engine.module.state_dict()
        if self.rank == 0:
            lm = self.engine.module.lm
            own = {name.removeprefix("lm."): value for name, value in weights.items()}
            lm.config.use_cache = True
            lm.save_pretrained(str(self.config.folder / WEIGHTS), state_dict=own)
