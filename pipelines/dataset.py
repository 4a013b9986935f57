"""How this project uses Ray Data: plain items in, tables out as they are done, in any order, and quietly.

The settings that long calls and small machines need stand here. Knows nothing of what is in the items.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sprint.errors import SprintError


@contextmanager
def on_nodes(nodes: Mapping[str, str]) -> Iterator[None]:
    """Datasets that are made in here send their work to nodes with these labels; empty: no change."""
    import ray

    options = ray.data.DataContext.get_current().execution_options
    before, options.label_selector = options.label_selector, dict(nodes) or options.label_selector
    try:
        yield
    finally:
        options.label_selector = before


def dataset(items: Sequence[Mapping[str, Any]], num_blocks: int | None = None) -> Any:
    """A Ray Dataset of the items, one in each block unless `num_blocks` says otherwise."""
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = False  # a slow row holds up no other
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a long thought, or a wait for a machine, is no failure
    made = ray.data.from_items(list(items), override_num_blocks=num_blocks or max(1, len(items)))
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when a dataset is made
    return made


def tables(made: Any) -> Iterator[Any]:
    """The blocks of a dataset as Arrow tables. An error that a worker raised on purpose comes out as it went in."""
    try:
        yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    except Exception as error:
        raise _own(error) or error from None


def _own(error: BaseException) -> SprintError | None:
    """The project's own error inside what Ray wraps around it."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, SprintError):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    return None
