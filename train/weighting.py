"""How much a micro batch's loss weighs in an optimizer step. It knows numbers only: no model, no data, no DeepSpeed."""

from __future__ import annotations


def step_weight(supervised: int, world: int, accumulation: int) -> float:
    """The factor of a micro batch's summed loss, such that every supervised token of the step weighs alike.

    The step's loss is the mean over `supervised` tokens, those of all `world` workers and `accumulation` micro steps,
    however unevenly they lie. DeepSpeed averages over workers and micro steps, so the factor undoes that mean.
    """
    return world * accumulation / max(1, supervised)
