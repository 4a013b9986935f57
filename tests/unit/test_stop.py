"""Stop strings cut a text at the same place, whole or in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.stop import Cutter, cut

TEXT = st.text("ab", max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@given(st.lists(TEXT, max_size=5), STOPS)
def test_pieces_are_cut_where_the_whole_is(pieces: list[str], stops: list[str]) -> None:
    cutter = Cutter(stops)
    told = "".join(cutter.feed(piece) for piece in pieces) + cutter.end()
    assert (told, cutter.stopped) == cut("".join(pieces), stops)


@given(TEXT, STOPS)
def test_what_is_left_holds_no_stop_string(text: str, stops: list[str]) -> None:
    kept, stopped = cut(text, stops)
    assert text.startswith(kept)
    assert not any(stop in kept for stop in stops)
    assert stopped == any(stop in text for stop in stops)


def test_nothing_is_held_that_cannot_begin_a_stop_string() -> None:
    cutter = Cutter(["END"])
    assert [cutter.feed(piece) for piece in ("one E", "N", "T", "E", "ND two")] == ["one ", "", "ENT", "", ""]
