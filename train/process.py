"""A worker's process before anything is trained: its environment, threads, seed, and the group it talks in.

It knows Ray's workers only as processes, and nothing of models or data.
"""

from __future__ import annotations

import warnings

from train.config import TrainConfig


def environment(config: TrainConfig) -> dict[str, str]:
    """Environment of a worker process.

    On CPU a worker computes with its own threads only, as spinning OpenMP threads steal from the other workers.
    """
    values = {"TOKENIZERS_PARALLELISM": "false"}
    if not config.use_gpu:
        values |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(config.threads)}
    return values


def prepare_process(config: TrainConfig) -> None:
    import torch
    from transformers.utils import logging

    warnings.filterwarnings("ignore", ".*is deprecated", FutureWarning, "torch.distributed")  # DeepSpeed's calls
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
