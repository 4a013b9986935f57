"""A visit to the page: it is opened, a question is asked, the tree is read; afterwards nothing may have gone wrong.

It knows the page by what a person sees of it: ids, classes, texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.edge.browser import Page
from tests.edge.page_server import POWERS, QUESTION, Service

RUNNING = ".lanes > [data-outcome=running]"
FINISHED = "document.getElementById('status').dataset.phase === 'finished'"
TREE = """[...document.querySelectorAll('#tree .block')].map(
    (block) => [block.querySelector('.title').textContent, block.dataset.part, block.dataset.outcome,
                block.querySelector('.text').textContent, block.classList.contains('critical')])"""


@contextmanager
def visit(service: Service, chromium: Page) -> Iterator[Page]:
    """The page, just opened. Whatever happens, nothing is fetched elsewhere and nothing breaks the policy."""
    service.says(POWERS)
    chromium.requests.clear()
    chromium.window(1280, 800)
    chromium.open(f"{service.url}/")
    chromium.until("document.getElementById('model').value")
    yield chromium
    service.model.held.clear()
    assert [url for url in chromium.requests if not url.startswith((service.url, f"blob:{service.url}"))] == []
    assert (chromium.violations, chromium.errors) == ([], [])


def ask(page: Page, question: str = QUESTION) -> None:
    page.evaluate("document.getElementById('question').select()")
    page.write(question)
    page.evaluate("document.getElementById('status').dataset.phase = ''; document.getElementById('ask').click()")


def answered(page: Page, question: str = QUESTION) -> list[list[Any]]:
    """The whole tree, once the question is answered."""
    ask(page, question)
    page.until(FINISHED)
    return tree_of(page)


def tree_of(page: Page) -> list[list[Any]]:
    """Of each block its title, part, outcome, text, and whether it is on the critical path."""
    return list(page.evaluate(TREE))


def counts_of(page: Page) -> dict[str, str]:
    """The counters, by name."""
    rows = "[...document.querySelectorAll('#counts > div')].map((row) => [...row.children].map((c) => c.textContent))"
    return dict(page.evaluate(rows))


def eventually(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.01)
