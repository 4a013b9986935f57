"""64-bit hashes of texts: the same in every process, unlike Python's own. For sets too large to hold as text."""

from __future__ import annotations

from hashlib import blake2b


def hash64(text: str) -> int:
    """The hash of a text, from 0 to 2**64 - 1."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
