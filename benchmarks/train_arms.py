"""One arm of the training benchmark, in a process of its own: a few steps of our trainer, or of TRL's.

    python -m benchmarks.train_arms ours|trl SETTINGS.json

Prints one line of JSON: tokens (padding not counted), seconds, examples' share and memory of the timed steps.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

WARM_UP = 2
Result = dict[str, Any]


def main() -> None:
    arm, path = sys.argv[1:]
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    result = {"ours": ours, "trl": theirs}[arm](settings)
    print(json.dumps(result | _memory(settings["config"].get("use_gpu", False))))


def _memory(gpu: bool) -> Result:
    if not gpu:
        return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    import torch

    return {"memory": torch.cuda.max_memory_allocated(), "device": torch.cuda.get_device_name()}


# --- ours ------------------------------------------------------------------------------------------------------------


def ours(settings: Result) -> Result:
    """The trainer's own steps, without Ray around them."""
    import ray.train

    from sprint.config import validate
    from train import loop
    from train.config import TrainConfig
    from train.process import prepare_process

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(settings["port"])}
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    config = validate(TrainConfig, settings["config"], "settings")
    prepare_process(config)
    alone = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    ray.train.get_context = lambda: alone  # type: ignore[assignment,return-value]
    trainer = loop._Trainer(_job(config))
    trainer.engine.train()
    tokens, began = 0, 0.0
    for step in range(WARM_UP + settings["steps"]):
        if step == WARM_UP:
            tokens, began = 0, _now(config.use_gpu)
        trainer._optimizer_step()
        tokens += int(trainer.rows.lengths[trainer.order.step_rows(trainer.step)].sum())
        trainer.step += 1
    info = trainer.rows.info
    seconds = _now(config.use_gpu) - began
    flops = trainer.meter._work.flops(tokens, tokens * info.supervised_tokens / info.tokens) if settings["flops"] else 0
    return {
        "tokens": tokens,
        "seconds": seconds,
        "padding": info.padding,
        "example_tokens": info.tokens / info.examples,
        "flops": flops,
    }


def _job(config: Any) -> Any:
    from train.reading import read_curated
    from train.run import make_rows

    curated = read_curated(config.data)
    return make_rows(config, curated, curated, None)[0]


def _now(gpu: bool) -> float:
    if gpu:
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


# --- TRL's -----------------------------------------------------------------------------------------------------------


def theirs(settings: Result) -> Result:
    """SFTTrainer with packing, on the same ids and masks; every other option that both have is the same."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    config = settings["config"]
    gpu = config.get("use_gpu", False)
    if not gpu:
        torch.set_num_threads(config["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        config["start"], dtype=torch.bfloat16 if gpu else torch.float32, attn_implementation=settings["attention"]
    )
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(_now(gpu))

    counted = [0]

    class Counting(SFTTrainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            if len(ends) >= WARM_UP:
                counted[0] += _real(inputs)
            return super().training_step(model, inputs, *rest, **named)

    trainer = Counting(
        model,
        args=SFTConfig(**_their_options(settings, gpu)),
        train_dataset=_their_data(config),
        processing_class=AutoTokenizer.from_pretrained(config["start"]),
        callbacks=[Clock()],
    )
    trainer.train()
    return {"tokens": counted[0], "seconds": ends[-1] - ends[WARM_UP - 1]}


def _real(inputs: Any) -> int:
    mask = inputs.get("attention_mask")
    return int(inputs["input_ids"].numel() if mask is None or mask.dim() > 2 else mask.sum())


def _their_options(settings: Result, gpu: bool) -> Result:
    config = settings["config"]
    return {
        "output_dir": settings["folder"],
        "packing": True,
        "max_length": config["row_tokens"],
        "completion_only_loss": True,
        "per_device_train_batch_size": config["micro_rows"],
        "gradient_accumulation_steps": config["accumulation"],
        "max_steps": WARM_UP + settings["steps"],
        "learning_rate": config["learning_rate"],
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch",
        "bf16": True,
        "use_cpu": not gpu,
        "gradient_checkpointing": config.get("gradient_checkpointing", False),
        "use_liger_kernel": gpu,
        "save_strategy": "no",
        "report_to": [],
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
    }


def _their_data(config: Result) -> Any:
    """The examples as our trainer sees them in layout flat: ids, and which of them the model samples."""
    from datasets import Dataset

    from sprint.card import Instruction, Method, ModelCard
    from sprint.render import Layout, Prompter, training_example
    from sprint.tokenizer import HFTokenizer
    from train.reading import read_curated

    curated = read_curated(Path(config["data"]))
    prompter = Prompter(HFTokenizer(config["start"]), ModelCard(Method.SPRINT, Instruction.NONE))
    rows = []
    for id, question, text in zip(curated.ids, curated.questions, curated.texts, strict=True):
        tokens = training_example(id, question, text, prompter, Layout.FLAT).main
        if len(tokens.ids) <= config["row_tokens"]:
            rows.append({"input_ids": list(tokens.ids), "completion_mask": [int(one) for one in tokens.sampled]})
    return Dataset.from_list(rows)


if __name__ == "__main__":
    main()
