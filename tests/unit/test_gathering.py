"""Laws of a replica's messages: when text that was sampled is sent on."""

from __future__ import annotations

from serve_app.pools.gathering import UNWATCHED_CHUNK_TOKENS, Gathering
from sprint.llm import Chunk, FinishReason

PLAN = ["<Plan", "_1>", "\n<prompt_1.1>", " do </", "prompt_1.", "1>", " and", " more", " <b>", "</Plan_1>"]


def sent(gathering: Gathering, texts: list[str]) -> list[str]:
    """The messages that these tokens make, one token a text."""
    messages = []
    for number, text in enumerate(texts, 1):
        gathering.add(Chunk((number,), text, FinishReason.STOP if number == len(texts) else None))
        if gathering.due:
            messages.append(gathering.take().text)
    return messages


def test_unwatched_text_waits_for_a_closing_tag_but_the_first_token_does_not() -> None:
    messages = sent(Gathering(1, watched=False), PLAN)
    assert messages == ["<Plan", "_1>\n<prompt_1.1> do </prompt_1.1>", " and more <b></Plan_1>"]


def test_unwatched_text_is_sent_at_least_as_often_as_the_loop_looks_for_repetition() -> None:
    messages = sent(Gathering(1, watched=False), ["x"] * 300)
    assert list(map(len, messages)) == [
        1,
        UNWATCHED_CHUNK_TOKENS,
        UNWATCHED_CHUNK_TOKENS,
        299 - 2 * UNWATCHED_CHUNK_TOKENS,
    ]


def test_watched_text_is_sent_as_soon_as_any_tag_may_have_ended() -> None:
    messages = sent(Gathering(100, watched=True), PLAN)
    assert [message for message in messages if ">" in message][:2] == ["_1>", "\n<prompt_1.1>"]
    assert "".join(messages) == "".join(PLAN)


def test_what_is_wanted_singly_is_sent_token_by_token_and_then_gathered_again() -> None:
    messages = sent(Gathering(4, watched=False, singly_chars=3), ["a", "", "bc", *"defgh", "</", ">", "i"])
    assert messages == ["a", "", "bc", "defgh</>", "i"]
