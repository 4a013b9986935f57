"""The prefix cache of one engine: whole blocks, kept as long as there is room, the least recently used given up first.

It does not know token ids. A session's calls share its main thread; what an execution adds is nobody else's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Kept:
    """Blocks of one thread that can be given up, from the end. `users`: calls that are reading them now."""

    blocks: int = 0
    users: int = 0


class PrefixCache:
    """Blocks of `block_tokens` tokens each, `blocks` of them.

    A call pins its session's thread and its own blocks from `take` to `give`.
    """

    def __init__(self, blocks: float = math.inf, block_tokens: int = 16) -> None:
        self.blocks, self.block_tokens = blocks, block_tokens
        self.free = blocks
        self._kept: OrderedDict[object, _Kept] = OrderedDict()  # by session, or by the call whose own it was

    def cached(self, session: str, shared_tokens: int, live_tokens: int, prompt_tokens: int) -> int:
        """How many of a prompt's tokens are there: of the thread's first `shared_tokens`, whole blocks.

        live_tokens  tokens of the thread that a call which is still running has written, from its beginning
        """
        kept = self._kept.get(session)
        there = max(live_tokens // self.block_tokens, kept.blocks if kept else 0) * self.block_tokens
        most = min(there, shared_tokens, prompt_tokens - 1)  # the last token is always computed
        return most // self.block_tokens * self.block_tokens

    def take(self, session: str, cached_tokens: int, thread_tokens: int, tokens: int) -> int | None:
        """Room for a call that will hold `tokens`, `cached_tokens` of them there already; None: there is none.

        What it reads of the thread, up to `thread_tokens`, others can use at once. Returns its own blocks beside that.
        """
        own = -(-tokens // self.block_tokens) - cached_tokens // self.block_tokens
        kept = self._kept.setdefault(session, _Kept())
        kept.users += 1
        self._kept.move_to_end(session)
        if not self._make_room(own):
            kept.users -= 1
            return None
        self.free -= own
        there = max(kept.blocks, cached_tokens // self.block_tokens)
        shared = min(own, max(0, thread_tokens // self.block_tokens - there))
        kept.blocks += shared
        return own - shared

    def give(self, session: str, own: int, thread_tokens: int, key: object) -> None:
        """The call has ended. Its own blocks can be given up from now on: first those that are nobody else's.

        thread_tokens  how many of the thread's tokens have been computed by now
        key            names what is nobody else's
        """
        kept = self._kept[session]
        kept.users -= 1
        more = min(own, max(0, thread_tokens // self.block_tokens - kept.blocks))
        kept.blocks += more
        self._kept.move_to_end(session)
        if own > more:
            self._kept[key] = _Kept(own - more)
            self._kept.move_to_end(key, last=False)  # it cannot be hit again

    def _make_room(self, blocks: int) -> bool:
        if self.free >= blocks:
            return True
        for key in list(self._kept):
            kept = self._kept[key]
            if kept.users:
                continue
            gone = int(min(kept.blocks, blocks - self.free))
            kept.blocks -= gone
            self.free += gone
            if not kept.blocks:  # whoever takes room later is told that nothing is there
                del self._kept[key]
            if self.free >= blocks:
                return True
        return False
