"""Laws of reading token by token."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sprint import tags
from sprint.reader import TokenReader, prompt_ends
from sprint.render import plan_text, trajectory_text
from sprint.tags import Tag, lex
from sprint.tokenizer import ByteTokenizer, IncrementalDecoder
from sprint.types import Trajectory
from tests.unit.strategies import JoiningTokenizer, merged, trajectories


@given(st.text(max_size=40))
def test_pieces_of_text_add_up_to_the_whole(text: str) -> None:
    for tokenizer in (ByteTokenizer(), JoiningTokenizer()):
        ids = tokenizer.encode(text)
        assert "".join(IncrementalDecoder(tokenizer).feed(ids)) == tokenizer.decode(ids) == text


def test_a_character_comes_with_the_byte_that_completes_it() -> None:
    assert IncrementalDecoder(ByteTokenizer()).feed(list("é!".encode())) == ["", "é", "!"]


def test_broken_bytes_do_not_hold_text_back_forever() -> None:
    pieces = IncrementalDecoder(ByteTokenizer()).feed([0x80] * 20 + list(b"ok"))
    assert "".join(pieces).endswith("ok")
    assert "".join(pieces).startswith("\ufffd")


@given(trajectories())
def test_the_tags_do_not_depend_on_the_tokenizer(trajectory: Trajectory) -> None:
    text = trajectory_text(trajectory)
    for tokenizer in (ByteTokenizer(), JoiningTokenizer()):
        reader = TokenReader(tokenizer)
        pieces = [piece for token_id in tokenizer.encode(text) for piece in reader.feed(token_id)] + reader.close()
        assert merged(pieces) == lex(text)


def test_only_the_tail_of_the_last_id_is_cut_off_a_tag() -> None:
    tokenizer = JoiningTokenizer()
    reader = TokenReader(tokenizer)
    ids = tokenizer.encode("x\n</Plan_1>\n\n")
    while not any(isinstance(piece, Tag) for piece in reader.feed(ids[len(reader.ids)])):
        pass
    assert reader.overhang == "\n\n"
    kept = reader.ids_up_to_tag()
    assert tokenizer.decode(kept) == "x\n</Plan_1>"
    assert kept[:-1] == reader.ids[:-1]


def test_a_prompt_ends_with_the_id_that_closes_it() -> None:
    plan = plan_text(1, f"a\n{tags.prompt(1, 1, 'x')}\nb\n{tags.prompt(1, 2, 'y')}")
    for tokenizer in (ByteTokenizer(), JoiningTokenizer()):
        ids = tokenizer.encode(plan)
        ends = prompt_ends(ids, tokenizer)
        assert len(ends) == 2
        for k, end in enumerate(ends, 1):
            closing = f"</prompt_1.{k}>"
            assert closing in tokenizer.decode(ids[:end])
            assert closing not in tokenizer.decode(ids[: end - 1])
