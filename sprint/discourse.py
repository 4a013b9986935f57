"""Reads the turns of phrase of a thought: where a step opens, which sentences only plan, what hangs on the line before.

English only, and by word lists: what R1-type traces say ("Let me…", "Wait, …", "Alternatively, …"). Knows nothing of
quantities or of the other lines of the trace.
"""

from __future__ import annotations

import re
from enum import StrEnum

from sprint.lines import split


class Opening(StrEnum):
    """How a line opens a step."""

    NONE = "none"  # it goes on with what was being done
    TASK = "task"  # it says what to do next: "Let me work out A."
    CHECK = "check"  # another way, or a check: stands on the quantities it names and on nothing else
    RETURN = "return"  # it reconsiders what stands before: "Wait", "But", "Actually"
    RESULT = "result"  # it concludes: "So", "Therefore", "Thus"
    HEADING = "heading"  # a heading, a case, a numbered part


_FILLER = r"(?:(?:okay|ok|alright|all right|hmm+|well|yeah|yes|right|oh|ah|great|perfect|good|and)\b[ ,.:!—-]*)"
_RECONSIDER = r"(?:(?:wait|but|actually|hold on|however|no)\b[ ,.:!—-]*(?:a (?:second|minute|moment)\b[ ,.]*)?)"
_RETURN = rf"(?:{_RECONSIDER}|(?:so|therefore|thus|hence)\b[ ,:—-]*)"
_ORDER = (
    r"(?:(?:(?:now|next|then|finally|lastly|similarly)\b[ ,.:—-]*)"
    r"|(?:(?:first|second|third|fourth)(?:ly)?(?: of all)?|to start|to begin(?: with)?|step \d+)[,:] *)"
)
_CHECK = (
    r"(?:(?:alternatively|another (?:way|approach|method)|as a check|just to (?:be|make|double)|"
    r"to (?:double[- ]?check|verify|confirm|be (?:thorough|sure|safe)))\b)"
)
_INTENT = (
    r"(?:(?:let me|let['’]s|let us|i['’]ll|i will|i['’]m going to|we['’]ll|"
    r"(?:maybe |perhaps |so )?(?:i|we) (?:(?:need|have|want) to|should|can|could|might|must))"
    r"(?: (?:now|first|just|also|then|next|try to|start by|begin by|go ahead and|see if i can))*)"
)
_CHECKING = (
    r"(?:double[- ]?check|verify|confirm|re-?check|make sure|another (?:way|approach|method)|"
    r"re-?(?:calculate|compute|examine|do)|"
    r"check (?:again|my|this|that|it|if (?:this|that|it)|the (?:answer|result|solution|calculation)))"
)

_LEAD = re.compile(rf"\s*(?:{_FILLER}|{_RETURN}|{_ORDER})*", re.I)
_RETURNS = re.compile(rf"\s*(?:{_FILLER})*{_RETURN}", re.I)
_RECONSIDERS = re.compile(rf"\s*(?:{_FILLER})*{_RECONSIDER}", re.I)
_ORDERED = re.compile(rf"\s*(?:{_FILLER}|{_RETURN})*{_ORDER}", re.I)
_INTENDS = re.compile(rf"{_INTENT}\b", re.I)
_FIRST_MOVE = re.compile(r"(?:let me|let['’]s|let us)\b", re.I)
_CHECKS = re.compile(rf"{_CHECK}|{_INTENT}[^.?!=]{{0,60}}?\b{_CHECKING}\b", re.I)
_HEADS = re.compile(
    r"\s*(?:\*\*[^*\n]{1,80}\*\*|#{1,4} |(?:\*\*)?(?:case|step|part|option|method|approach|possibility) \w{1,3}\b|"
    r"(?:first|second|third|fourth|last) (?:method|approach|way|case|option)\b)",
    re.I,
)
_PURPOSE = re.compile(r"(?:to|for) (?!example|instance)[a-z]+[^.?!=]{0,80},\s*(?:i|we|let)\b", re.I)
_NOT_A_VERB = re.compile(
    r"(?:i|we|you|he|she|it|they|the|a|an|this|that|these|those|there|for|if|since|because|when|what|how|my|our|is|are|"
    r"in|on|at|of|as|with|from|by|both|each|all|only|not|does|do|did|no|another|every|what|term|terms|step|part|row|column|case|question|digit|number|point|one|possible|\w+ing|\w+ly)\b",
    re.I,
)
_WORD = re.compile(r"[a-z]{2,}\b")
_BACKWARD = re.compile(
    r"\b(?:this|these|those|it|them|that|the (?:results?|above|previous|last|same|expression|equations?|formula)|"
    r"above|previous|earlier|everything|(?:i|we) (?:have|know|found|got|calculated|computed)|"
    r"combin\w+|substitut\w+|plug\w*|put\w* together)\b",
    re.I,
)
_INSTRUCTION_LEAD = re.compile(
    rf"\s*(?:{_FILLER}|{_RETURN}|{_ORDER}|(?:alternatively|maybe|perhaps)\b[ ,]*|just to [^.,]{{3,60}}, *)*"
    rf"(?:{_INTENT}\s+)?",
    re.I,
)
_VAGUE = re.compile(  # "Let me see.", "Let's think about this.", "Let me compute that:"
    r"(?:(?:see|think|try|do|go|recap|figure|start|visualize)(?: \w+)?(?: \w+)?|"
    r"think about (?:how|what|this|it).{0,60}|"
    r"\w+ (?:this|that|it|them)(?: (?:out|down|up))?(?: step by step)?)?\W*",
    re.I,
)


_LONG_INSTRUCTION = 160  # characters
_CLAUSE = re.compile(r"(.{20,}?)(?:[:;]| because| so that|, (?:but|so|since|which|where|and))\s", re.I)


# First letters, so that most lines are done with before any pattern is tried. Letters beyond ASCII are let through: a
# few are cases of s, i and k.
_HEADING_LETTERS = frozenset("*#cspomaftlCSPOMAFTL")
_LEAD_LETTERS = frozenset("abfghlnoprstwyABFGHLNOPRSTWY")
_PLANNING_STARTS = frozenset(["al", "an", "as", "ju", "to", "fo", "le", "i ", "i'", "we", "ma", "pe", "so"])


def opening(line: str) -> Opening:
    """How `line` opens a step, by its first words."""
    if line[:1].isdigit():
        return Opening.NONE
    bare = line.lstrip()
    first = bare[:1]
    if (first in _HEADING_LETTERS or not first.isascii()) and _HEADS.match(line):
        return Opening.HEADING
    leads = first in _LEAD_LETTERS or not first.isascii()
    rest = line[_LEAD.match(line).end() :] if leads else bare  # type: ignore[union-attr]
    start = rest[:2].lower()
    if start in _PLANNING_STARTS or not start.isascii():
        if _CHECKS.match(rest):
            return Opening.CHECK
        if _INTENDS.match(rest) or _PURPOSE.match(rest):
            return _task(rest)
    if len(rest) == len(bare):
        return Opening.NONE  # without a word such as "now", "wait" or "so" it is none of what follows
    if _orders(line, rest):
        return _task(rest)
    if _RECONSIDERS.match(line):
        return Opening.RETURN
    return Opening.RESULT if _RETURNS.match(line) else Opening.NONE


def _task(rest: str) -> Opening:
    return Opening.NONE if _VAGUE.fullmatch(bare_instruction(rest)) else Opening.TASK


def _orders(line: str, rest: str) -> bool:
    """Whether a line such as "Now compare A with B." tells to do something: an ordering word, then a verb."""
    return _WORD.match(rest) is not None and _ORDERED.match(line) is not None and not _NOT_A_VERB.match(rest)


def states_the_problem(line: str) -> bool:
    """Whether the first line of a thought says what is asked ("Okay, so I need to find…"), not what to do first."""
    rest = line[_LEAD.match(line).end() :]  # type: ignore[union-attr]
    return opening(line) is not Opening.HEADING and _FIRST_MOVE.match(rest) is None and not _orders(line, rest)


def takes_up(line: str) -> bool:
    """Whether the line opens by taking up what stands before it: "Wait", "But", "So", "Therefore"…"""
    return _RETURNS.match(line) is not None


def points_back(text: str) -> bool:
    """Whether the text refers to something said before without naming a quantity: "this", "the result", "we found"…"""
    return _BACKWARD.search(text) is not None


def bare_instruction(sentence: str) -> str:
    """A planning sentence as an instruction: discourse markers and the final full stop dropped, on one line."""
    text = " ".join(sentence.split())
    bare = text[_INSTRUCTION_LEAD.match(text).end() :].strip()  # type: ignore[union-attr]
    return (bare if len(bare) > 2 else text).rstrip(".:;, ")


def plan_instruction(plan: str) -> str:
    """The instruction that a plan gives: its last sentence, or the last that is not as vague as "Let me see".

    Of a long sentence, its first clause. `""` for an empty plan.
    """
    found = [bare_instruction(line) for line in split(plan) if line.strip()]
    clear = [instruction for instruction in found if not _VAGUE.fullmatch(instruction)]
    return _shortened((clear or found or [""])[-1])


def _shortened(instruction: str) -> str:
    clause = _CLAUSE.match(instruction) if len(instruction) > _LONG_INSTRUCTION else None
    return clause[1] if clause else instruction


def says_no_more(plan: str, instruction: str) -> bool:
    """Whether the plan is one sentence and the instruction is all of it, markers aside."""
    return len(split(plan)) == 1 and bare_instruction(plan) == instruction
