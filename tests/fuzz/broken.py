"""A law that does not hold, as an error that names it."""

from __future__ import annotations


class Broken(AssertionError):
    """The input breaks `law`; `seen` is what was found instead."""

    def __init__(self, law: str, seen: object = None) -> None:
        super().__init__(law if seen is None else f"{law}: {str(seen)[:2000]}")
        self.law = law


def holds(true: bool, law: str, seen: object = None) -> None:
    """Raises Broken unless `true`."""
    if not true:
        raise Broken(law, seen)
