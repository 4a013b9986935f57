"""Checkpoints for another number of workers: DeepSpeed's universal format, one file per parameter and state.

    python -m train.universal RUN          converts the latest checkpoint of the run's folder

ZeRO writes one piece per worker. DeepSpeed's converter puts the pieces together, and its engine cuts them anew. What it
does not do is done here: it knows the states of Adam only, so Muon's momentum travels under the name of Adam's; on
loading it gives every group the settings of the first, and all groups one step counter. It knows no loop and no data.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sprint.errors import SprintError

UNIVERSAL = "universal"  # the converted files inside a checkpoint
_ENGINE = "engine"
_MOMENTUM = "momentum_buffer"  # Muon's only state but the step

# --- converting ------------------------------------------------------------------------------------------------------


def command(run: Path) -> str:
    """What a person types to convert the latest checkpoint of a run."""
    return f"python -m train.universal {run}"


def convert(checkpoint: Path) -> None:
    """Write the universal form of a checkpoint's folder into it, in a process of its own, whole or not at all.

    That process holds one worker's piece at a time. Raises SprintError with the last thing it said.
    """
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
    ran = subprocess.run(
        [sys.executable, "-m", "train.universal", "--checkpoint", str(checkpoint)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        said = [line for line in ran.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise SprintError(f"checkpoint {checkpoint} could not be converted for other workers: {said[-1].strip()}")


def convert_here(checkpoint: Path) -> None:
    """The same in this process."""
    from deepspeed.checkpoint import ds_to_universal

    target = checkpoint / UNIVERSAL
    draft = target.with_name(target.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with _adams_names(checkpoint / _ENGINE, checkpoint / "renamed.part") as source:
            arguments = argparse.Namespace(
                input_folder=str(source),
                output_folder=str(draft),
                num_extract_workers=1,
                num_merge_workers=1,
                keep_temp_folder=False,
                strict=True,
                inject_missing_state=True,
            )
            ds_to_universal.main(arguments)
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        (checkpoint / "latest_universal").unlink(missing_ok=True)


@contextlib.contextmanager
def _adams_names(source: Path, copy: Path) -> Iterator[Path]:
    """A folder in which every optimizer's state looks like Adam's: `source` itself, or a copy for the while."""
    import torch

    pieces = sorted(source.glob("*_optim_states.pt"))
    first = torch.load(pieces[0], map_location="cpu", weights_only=False) if pieces else {}
    if not any(_MOMENTUM in state for state in _states(first).values()):
        yield source
        return
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    try:
        for file in source.iterdir():
            if file in pieces:
                _rename_momentum(file, copy / file.name)
            else:
                os.link(file, copy / file.name)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _states(piece: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The optimizer's states in a worker's file: ZeRO-3 keeps them elsewhere than ZeRO-1 and 2."""
    zero = piece.get("optimizer_state_dict", {})
    inner = zero.get("base_optimizer_state") or zero.get("optimizer_state_dict") or {}
    found: dict[int, dict[str, Any]] = inner.get("state", {})
    return found


def _rename_momentum(source: Path, target: Path) -> None:
    import torch

    piece = torch.load(source, map_location="cpu", weights_only=False)
    for state in _states(piece).values():
        if _MOMENTUM in state:
            state["exp_avg"] = state.pop(_MOMENTUM)
            state["exp_avg_sq"] = torch.zeros(1).expand_as(state["exp_avg"])  # one number on the disk
    torch.save(piece, target)


# --- loading ---------------------------------------------------------------------------------------------------------


def load_universal(engine: Any, checkpoint: Path) -> None:
    """Bring a fresh engine to a converted checkpoint.

    Raises SprintError, naming the command that converts it, when it is not converted.
    """
    if not (checkpoint / UNIVERSAL).is_dir():
        raise SprintError(
            f"checkpoint {checkpoint} was written by other workers than these: "
            f"run `{command(checkpoint.parent.parent)}` and resume"
        )
    optimizer = engine.optimizer.optimizer
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    before = engine._config.load_universal_checkpoint
    engine._config.load_universal_checkpoint = True
    try:
        path, _ = engine.load_checkpoint(str(checkpoint), tag=UNIVERSAL)
    finally:
        engine._config.load_universal_checkpoint = before
    assert path is not None, "a converted checkpoint without a model"
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
    _mend_states(optimizer, engine)


def _mend_states(optimizer: Any, engine: Any) -> None:
    """Give Muon's momentum its name back, and every state a step counter of its own."""
    if engine.zero_optimization_stage() == 3:  # the groups are empty there, and the pieces stand elsewhere
        pieces = engine.optimizer.fp32_partitioned_groups_flat
    else:
        pieces = [group["params"][0] for group in optimizer.param_groups]
    for piece, group in zip(pieces, optimizer.param_groups, strict=True):
        state = optimizer.state[piece]
        state["step"] = state["step"].clone()
        if group.get("muon"):
            state[_MOMENTUM] = state.pop("exp_avg")
            state.pop("exp_avg_sq")


def main(arguments: list[str] | None = None) -> None:
    """Convert the latest checkpoint of a run's folder, or one checkpoint."""
    from train.checkpoints import latest

    parser = argparse.ArgumentParser(prog="python -m train.universal", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", help="a run's folder: its latest checkpoint is converted")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint's folder, in the place of a run")
    given = parser.parse_args(arguments)
    found = latest(given.run) if given.run else None
    folder = given.checkpoint or (found.folder if found else None)
    if folder is None:
        parser.error("expected the folder of a run that has a whole checkpoint")
    convert_here(folder)
    print(f"{folder} can now be read by any number of workers")


if __name__ == "__main__":
    main()
