"""The process in which formulas are read and compared: math-verify over standard input and output.

One JSON line `[gold, given, seconds]` in, one line out: `true` or `false`. It knows math-verify and its own limits of
processor time and memory, and dies when a comparison oversteps them: nothing in Python can interrupt the arithmetic of
a number with a million digits, the operating system can. It does not know who asks, nor what an answer is.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from contextlib import suppress

READY = "ready"
MAX_BYTES = 3 << 30  # address space; reading formulas takes a tenth of it
_WALL_FACTOR = 20  # wall seconds allowed for one second of processor time, on a machine that is busy


def same_mathematics(gold: str, given: str) -> bool:
    """Whether two LaTeX formulas say the same. An interval equals the inequality that describes it."""
    from math_verify import LatexExtractionConfig, parse, verify

    # The LaTeX reader only: the library's plain-expression reader goes through `eval`.
    reader = [LatexExtractionConfig()]
    wanted, found = (parse(f"${text}$", extraction_config=reader, parsing_timeout=None) for text in (gold, given))
    return bool(verify(wanted, found, allow_set_relation_comp=True, timeout_seconds=None))


def _guarded(gold: str, given: str) -> bool:
    try:
        return same_mathematics(gold, given)
    except (Exception, RecursionError):  # whatever a mathematics library throws at odd text means: not the same
        return False


def _allow(seconds: float) -> None:
    """Let the system end this process after so much processor time, or much more time on the wall; 0: no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WALL_FACTOR)


def main() -> None:
    """Answer until the input ends."""
    # Libraries print; the asker shall read answers only.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with suppress(ValueError, OSError):  # where a tighter limit stands already, or the system knows none
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is for whoever asked
    import math_verify  # noqa: F401  # takes seconds, which are not the first comparison's

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    _guarded("0.5", r"\frac{1}{2}")  # nor are the tables of the LaTeX reader
    print(READY, file=answers)
    for line in sys.stdin:
        gold, given, seconds = json.loads(line)
        _allow(seconds)
        same = _guarded(gold, given)
        _allow(0)
        print(json.dumps(same), file=answers)


if __name__ == "__main__":
    main()
