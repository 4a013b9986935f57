"""Does the layout matter? `flat`, `exact` and RFT on Countdown from scratch: same problems, tokens and first weights.

Each arm is an ordinary `sprint train` from the seed's untrained model and is then asked all held-out problems by the
engine, greedily. The budget counts row tokens, all that the model reads while it learns: `exact` reads executions twice
(in the branch that teaches them and in the main thread), so it makes fewer passes over the problems. The `flat` models
are asked twice: with the engine's own view of a plan, which that layout does not teach, and with the authors'.

    python -m benchmarks.ablation --seeds 3 --out runs/ablation           # about 90 minutes on one core
    python -m benchmarks.ablation --seeds 3 --out runs/ablation --resume  # goes on where it stopped
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sprint.card import Instruction, Method, ModelCard
from sprint.errors import InputError
from sprint.evals.stats import wilson
from sprint.files import read_json, write_json, write_text
from sprint.options import View
from sprint.render import Layout, Prompter
from sprint.steps import ENVIRONMENT
from sprint.tasks import Problem, Split, Task, get_task
from sprint.usage import Usage

TASK = "countdown"
MAX_TOKENS = 1500
# Student's t, two-sided 95 %, by degrees of freedom (scipy.stats.t.ppf(0.975, n)).
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to teach and to ask: which curated set, in which layout, and what executors are shown.

    Arms of one method and layout share their models.
    """

    name: str
    method: Method
    layout: Layout
    view: View = View.PREFIX

    @property
    def file(self) -> str:
        """Its name as part of a file's name."""
        return "-".join(re.findall(r"\w+", self.name))

    @property
    def model(self) -> str:
        """The name of its models, without the seed."""
        return "rft" if self.method is Method.RFT else str(self.layout)


ARMS = (
    Arm("exact", Method.SPRINT, Layout.EXACT),
    Arm("flat", Method.SPRINT, Layout.FLAT),
    Arm("flat, authors' view", Method.SPRINT, Layout.FLAT, View.WHOLE_PLAN),
    Arm("rft", Method.RFT, Layout.FLAT),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared: how many problems are taught, row tokens read by each arm, and held-out problems asked."""

    out: Path
    seeds: int
    traces: int
    tokens: int
    problems: int


def main(words: Sequence[str] | None = None) -> None:
    plan = _plan(words)
    task = get_task(TASK)
    _prepare_data(plan)
    for seed in range(plan.seeds):
        for arm in ARMS:
            path = plan.out / "results" / f"{arm.file}-{seed}.json"
            if not path.exists():
                write_json(path, _measure(plan, task, arm, seed))
            print(_line(read_json(path)), flush=True)
    results = [read_json(path) for path in sorted((plan.out / "results").glob("*.json"))]
    report = {"plan": _settings(plan), "arms": [_over_seeds(arm, results) for arm in ARMS], "runs": results}
    write_json(plan.out / "ablation.json", report)
    write_text(plan.out / "ablation.md", _table(report))
    print(_table(report))


def _plan(words: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--traces", type=int, default=1400)
    parser.add_argument("--tokens", type=int, default=2_700_000, help="row tokens that each arm reads")
    parser.add_argument("--problems", type=int, default=150, help="held-out problems that each model is asked")
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args(words)
    plan = Plan(given.out, given.seeds, given.traces, given.tokens, given.problems)
    settings = plan.out / "plan.json"
    if settings.exists() and not given.resume:
        raise InputError(f"{plan.out} holds an ablation: go on with --resume, or choose another --out")
    if settings.exists() and read_json(settings) | {"seeds": 0} != _settings(plan) | {"seeds": 0}:
        raise InputError(f"{plan.out} was begun with other settings ({settings}), expected the same but for --seeds")
    write_json(settings, _settings(plan))
    return plan


def _settings(plan: Plan) -> dict[str, Any]:
    return {"seeds": plan.seeds, "traces": plan.traces, "tokens": plan.tokens, "problems": plan.problems}


# --- one model -------------------------------------------------------------------------------------------------------


def _prepare_data(plan: Plan) -> None:
    """The traces and both curated sets, the same for all."""
    traces, curated = plan.out / "traces.jsonl", plan.out / "curated"
    if not traces.exists():
        _sprint("generate", TASK, f"--n={plan.traces}", f"--out={traces}")
    if not (curated / "report.html").exists():
        _sprint("curate", str(traces), f"--out={curated}", *(["--resume"] if curated.exists() else []))


def _measure(plan: Plan, task: Task, arm: Arm, seed: int) -> dict[str, Any]:
    """Train one arm from the seed's first weights, ask it, and say what came of it."""
    curated = plan.out / "curated"
    start = plan.out / f"start-{seed}"
    if not start.exists():
        _sprint("prepare", f"{curated}/sprint", f"{curated}/rft", f"--out={start}", f"--seed={seed}")
    epochs = plan.tokens / _tokens_of_a_pass(curated, start, arm)
    model = plan.out / "models" / f"{arm.model}-{seed}"
    if not model.exists():
        _train(plan, arm, seed, start, model, epochs)
    summary = read_json(plan.out / "training" / f"{arm.model}-{seed}" / "summary.json")
    rows = _ask(model, task, list(islice(task.problems(Split.TEST), plan.problems)), arm.view)
    return {"arm": arm.name, "seed": seed, "epochs": epochs, "training": summary, "rows": rows}


def _tokens_of_a_pass(curated: Path, start: Path, arm: Arm) -> int:
    """Row tokens of one pass over the problems."""
    from sprint.tokenizer import HFTokenizer
    from train.data import encode
    from train.reading import read_curated

    card = ModelCard(arm.method, Instruction.NONE, TASK)
    rows = encode(read_curated(curated / arm.method), Prompter(HFTokenizer(start), card), arm.layout)
    return sum(len(row) for row in rows)


def _train(plan: Plan, arm: Arm, seed: int, start: Path, model: Path, epochs: float) -> None:
    name, runs = f"{arm.model}-{seed}", plan.out / "training"
    words = [f"{plan.out}/curated/{arm.method}", f"--name={name}", f"--start={start}", f"--out={runs}"]
    words += ["--config=train/recipes/countdown.yaml", f"--task={TASK}", f"--seed={seed}", f"--export={model}"]
    words += [f"--epochs={epochs:.4f}", f"--layout={arm.layout}"]
    _sprint("train", *words, *(["--resume"] if (runs / name).exists() else []))


def _ask(model: Path, task: Task, problems: Sequence[Problem], view: View) -> list[dict[str, Any]]:
    """One row per held-out problem."""
    import torch
    from transformers import AutoModelForCausalLM

    from sprint.tokenizer import HFTokenizer
    from train.format_check import ask, is_well_formed

    torch.set_num_threads(1)
    lm = AutoModelForCausalLM.from_pretrained(str(model), dtype=torch.float32)
    prompter = Prompter(HFTokenizer(model), ModelCard.load(model))
    rollouts = ask(lm, prompter, [problem.question for problem in problems], MAX_TOKENS, view=view)
    return [
        {
            "id": problem.id,
            "grade": task.grade(problem, rollout.answer_text),
            "well_formed": is_well_formed(rollout),
            "sequential_tokens": _waited_for(rollout.usage, view),
            "generated_tokens": rollout.usage.generated_tokens,
            "stop_reason": rollout.stop_reason,
        }
        for problem, rollout in zip(problems, rollouts, strict=True)
    ]


def _waited_for(usage: Usage, view: View) -> int:
    """Tokens that are sampled one after the other: where executors are shown the whole plan, they wait for its end."""
    return usage.barrier_tokens if view is View.WHOLE_PLAN else usage.pipelined_tokens


def _sprint(*words: str) -> None:
    """Run a command of `sprint`, and stop when it fails."""
    import os

    print(f"$ sprint {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "sprint.cli", *words], check=True, env=ENVIRONMENT | os.environ)


# --- all of them -----------------------------------------------------------------------------------------------------


def _right(run: dict[str, Any]) -> int:
    return sum(row["grade"] == "correct" for row in run["rows"])


def _mean(run: dict[str, Any], name: str) -> float:
    return fmean(row[name] for row in run["rows"])


def _line(run: dict[str, Any]) -> str:
    interval = wilson(_right(run), len(run["rows"]))
    accuracy = f"{_right(run) / len(run['rows']):.1%} [{interval.low:.1%}, {interval.high:.1%}]"
    tokens = f"{_mean(run, 'sequential_tokens'):.0f} sequential tokens"
    return f"{run['arm']}, seed {run['seed']}: right {accuracy}, format {_mean(run, 'well_formed'):.1%}, {tokens}"


def _over_seeds(arm: Arm, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds with Student's intervals; None without two seeds."""
    runs = [run for run in results if run["arm"] == arm.name]
    values = {"accuracy": [_right(run) / len(run["rows"]) for run in runs]}
    values |= {name: [_mean(run, name) for run in runs] for name in ("well_formed", "sequential_tokens")}
    values |= {"generated_tokens": [_mean(run, "generated_tokens") for run in runs]}
    values |= {"epochs": [run["epochs"] for run in runs], "loss": [run["training"]["final_loss"] for run in runs]}
    right, asked = sum(map(_right, runs)), sum(len(run["rows"]) for run in runs)
    pooled = wilson(right, asked)
    return {
        "arm": arm.name,
        "seeds": len(runs),
        "right": [right, asked, pooled.low, pooled.high],
        **{name: {"mean": fmean(found), "half": _half(found)} for name, found in values.items()},
    }


def _half(found: Sequence[float]) -> float | None:
    """Half the width of Student's 95 % interval of the mean."""
    return _T[len(found) - 1] * stdev(found) / len(found) ** 0.5 if 1 < len(found) <= len(_T) + 1 else None


def _table(report: dict[str, Any]) -> str:
    plan = report["plan"]
    head = f"{plan['traces']} problems, {plan['tokens']:,} row tokens an arm, {plan['seeds']} seeds, "
    head += f"{plan['problems']} held-out problems each; mean ± Student's 95 % over seeds"
    lines = [head, "", "| arm | passes | right | all seeds pooled (Wilson 95 %) | format | sequential | generated |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for arm in report["arms"]:
        right, asked, low, high = arm["right"]
        cells = [arm["arm"], f"{arm['epochs']['mean']:.2f}", _share(arm["accuracy"])]
        cells += [f"{right}/{asked} [{low:.1%}, {high:.1%}]", _share(arm["well_formed"])]
        cells += [_count(arm["sequential_tokens"]), _count(arm["generated_tokens"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(value: dict[str, Any]) -> str:
    return f"{value['mean']:.1%}" + ("" if value["half"] is None else f" ± {value['half']:.1%}")


def _count(value: dict[str, Any]) -> str:
    return f"{value['mean']:.0f}" + ("" if value["half"] is None else f" ± {value['half']:.0f}")


if __name__ == "__main__":
    main()
