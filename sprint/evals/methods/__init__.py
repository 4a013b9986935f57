"""The methods, by name. All of them work over any asker, so a difference in the report is the method's.

A method waits for the longest of the calls of one stage, and for its stages in turn. What each counts:

| method | pipelined, barrier | paper's and authors' formula | generated | rounds, executions |
| --- | --- | --- | --- | --- |
| `sprint` | as the engine counts them | as they define them | all | the rollout's |
| `rft`, `sequential`, `base` | all | all | all | 0, 0 |
| `self-consistency` | the longest sample | none | all samples | 0, the samples |
| `sot-chat`, `sot-reasoning` | outline + longest point + extraction | none | all calls | 1, the points |

Thoughts are counted wherever they are written. Prompt, cached, discarded and inexact tokens and calls are sums over
all calls, so prompts that a method sends again are paid for again. Tags of the runtime and join prefill are the
rounds' only; join prefill is None for Skeleton-of-Thought, whose last call reads the points again as text. The wall
clock is the asker's, from the first call to the last answer; a majority vote and grading stand outside. Seconds
executing are those of calls beside each other, seconds planning all others. (The paper's table counts self-
consistency by the mean sample, not the longest, and does not say how Skeleton-of-Thought is counted.) Knows names and
what they are made of.
"""

from __future__ import annotations

from sprint.answers import last_boxed
from sprint.evals.asking import Method
from sprint.evals.config import EvalConfig
from sprint.evals.methods.posing import Posing
from sprint.evals.methods.self_consistency import Find, Same, SelfConsistency
from sprint.evals.methods.single import Single
from sprint.evals.methods.skeleton import Skeleton


def get_method(config: EvalConfig, same: Same, find: Find = last_boxed) -> Method:
    """The method that the configuration names.

    same, find  whether two bare answers are the same, and what the bare answer of a text is
    """
    posing = Posing(config.instruction)
    match config.method:
        case "auto":
            return Single(posing, config.mode)
        case "sprint":
            return Single(posing, "parallel", "sprint")
        case "self-consistency":
            return SelfConsistency(posing, same, config.votes, find)
        case "sot-chat" | "sot-reasoning":
            return Skeleton(config.method, config.points, thinks=config.method == "sot-reasoning")
        case _:
            return Single(posing, "sequential", config.method)
