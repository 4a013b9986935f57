"""Makes text from data fit to be printed: what steers a terminal in it is shown as a mark, and does nothing.

Knows characters, not terminals.
"""

from __future__ import annotations

import re

# C0 and C1 but for tab and newline, delete, and halves of surrogate pairs, which no stream can write.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with a replacement mark for each character that is an order to the terminal, not a letter."""
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


def escaped(json_text: str) -> str:
    r"""JSON that says the same with such characters written as `\u009b`, which JSON's own writer does for some only."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)
