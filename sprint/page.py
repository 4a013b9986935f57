"""The frame of a self-contained page: the document around its parts, a figure, a drawing that can stand in it.

Shared by all rooms that write pages. Knows no report and no style.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from html import escape
from typing import Any


def document(title: str, style: str, body: Iterable[str]) -> str:
    """A whole page: no script, no network. Empty parts of the body are left out."""
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{style}</style>"
    )
    text = "\n".join(part for part in body if part)
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body><main>\n{text}\n</main></body></html>\n"


def figure(drawing: str, caption: str) -> str:
    """A drawing with its caption."""
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def inline_svg(drawn: Any) -> str:
    """A matplotlib figure as an `<svg>` element: no XML header, no date, so the same data give the same page."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
