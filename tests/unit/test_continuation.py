"""How a call is taken up again: wherever it was cut, the whole is what an undisturbed call would have been."""

import itertools
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.pools.continuation import Continuation, singly
from serve_app.pools.gathering import Gathering
from sprint.llm import Chunk, FinishReason, Sampling

TOKENS = ("a", "b", "ab", "ba<", "<", "</", "/a", ">", "x>a", "")  # by id
END = len(TOKENS)  # the id that ends a sequence


def decode(ids: Sequence[int]) -> str:
    return "".join(TOKENS[token_id] for token_id in ids if token_id != END)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks as one message."""
    ids = tuple(token_id for chunk in chunks for token_id in chunk.token_ids)
    return Chunk(ids, "".join(chunk.text for chunk in chunks), chunks[-1].finish_reason, chunks[0].cached_tokens)


def sampled(script: Sequence[int], sampling: Sampling, cached_tokens: int) -> list[Chunk]:
    """One chunk a token, as vLLM makes them: it searches its own text, new text first, and cuts text but never ids."""
    chunks, text = [], ""
    for number, token_id in enumerate(script, 1):
        new = decode([token_id])
        found = [(text + new).find(stop, max(0, len(text) - len(stop) + 1)) + len(stop) for stop in sampling.stop]
        ends = [end for end, stop in zip(found, sampling.stop, strict=True) if end >= len(stop) and new]
        reason = FinishReason.EOS if token_id == END else FinishReason.LENGTH if number == sampling.max_tokens else None
        if ends:
            new, reason = new[: min(ends) - len(text)], FinishReason.STOP
        chunks.append(Chunk((token_id,), new, reason, cached_tokens))
        text += new
        if reason:
            break
    return chunks


def replica(script: Sequence[int], sampling: Sampling, singly_chars: int, sizes: Sequence[int]) -> list[Chunk]:
    """What a replica sends of it: some tokens come joined; what is wanted singly is taken apart, the rest gathered."""
    chunks, messages = sampled(script, sampling, len(script)), list[Chunk]()
    gathering = Gathering(1, True, singly_chars)
    for size in itertools.chain(sizes, itertools.repeat(1)):
        if not chunks:
            return messages
        for chunk in singly(joined(chunks[:size]), decode, gathering.singly_chars):
            gathering.add(chunk)
            if gathering.due:
                messages.append(gathering.take())
        chunks = chunks[size:]
    raise AssertionError


def over_cuts(
    script: Sequence[int], sampling: Sampling, cuts: Sequence[int | None], sizes: Sequence[int]
) -> tuple[str, tuple[int, ...], FinishReason | None, int | None]:
    """Text, ids, reason and cached tokens of a call whose attempts are cut after so many messages."""
    call, taken = Continuation((0,), sampling), [Chunk((), "")]
    for cut in [*cuts, None]:
        if call.tokens_left < 1 and not call.finished:
            taken.append(call.end())
        if call.finished:
            break
        asked = call.attempt()
        assert asked.stop == sampling.stop
        for chunk in replica(script[len(call.prompt_ids) - 1 :], asked, call.singly_chars, sizes)[:cut]:
            assert not taken[-1].finish_reason
            taken.append(call.take(chunk))
            if call.finished:
                break
    whole = joined(taken)
    return whole.text, whole.token_ids, whole.finish_reason, taken[-1].cached_tokens


STOPS = st.lists(st.text("ab</>x", min_size=1, max_size=6), max_size=3).map(tuple)
SCRIPTS = st.lists(st.integers(0, len(TOKENS) - 1), min_size=1, max_size=24).map(lambda ids: [*ids, END])


@given(SCRIPTS, STOPS, st.lists(st.integers(0, 6), max_size=6), st.lists(st.integers(1, 4)), st.integers(1, 30))
@example([0, 5, 1], ("abc",), [1], [], 9)
@example([*[0] * 9, 1, END], ("ab",), [3, 2, 1], [4, 4, 4], 30)
@example([0, 4, 6, 7, 1, END], ("</a>",), [2], [2, 3, 3], 30)
@example([4, 6, END], ("</", "</a"), [1], [], 9)  # one token ends both
@example([4, 0, 4, 1, END], ("<b",), [1, 2], [], 9)  # the first cut's beginning was none
@example([2, 8, END], ("abx",), [1], [], 9)  # all but the last character stands before the cut
def test_wherever_a_call_is_cut_the_whole_is_what_an_undisturbed_call_would_be(
    script: list[int], stop: tuple[str, ...], cuts: list[int], sizes: list[int], max_tokens: int
) -> None:
    sampling = Sampling(max_tokens, 0.0, stop=stop)
    calm, cut = over_cuts(script, sampling, [], []), over_cuts(script, sampling, cuts, sizes)
    assert cut[:3] == calm[:3]
    if cuts and cuts[0]:
        assert cut[3] == calm[3]


def test_what_was_cached_is_known_from_the_first_attempt_whichever_chunk_says_it() -> None:
    call, said = Continuation((0,), Sampling(50)), []
    for chunks in ([Chunk((1,), "a"), Chunk((2,), "b", None, 5)], [Chunk((3,), "c", FinishReason.EOS, 7)]):
        call.attempt()
        said += [call.take(chunk).cached_tokens for chunk in chunks]
    assert said == [None, 5, 5]


def test_only_where_a_stop_string_may_have_begun_are_single_tokens_asked_for() -> None:
    wanted = []
    for text in ("plan", "plan </Pl", "plan </Pl</"):
        call = Continuation((0,), Sampling(50, stop=("</Plan>", "</>")))
        call.attempt()
        call.take(Chunk((1,), text))
        call.attempt()
        wanted.append(call.singly_chars)
    assert wanted == [0, len("an>"), len("Plan>")]
    call.take(Chunk((2,), "Q"))
    assert call.singly_chars <= 0  # it was none


@given(st.lists(st.integers(0, len(TOKENS) - 1), min_size=1, max_size=9), st.integers(-3, 20), st.integers(0, 3))
def test_a_chunk_that_is_taken_apart_says_the_same(ids: list[int], chars: int, cut: int) -> None:
    text = decode(ids)
    chunk = Chunk(tuple(ids), text[: len(text) - cut], FinishReason.STOP, 7)
    pieces = singly(chunk, decode, chars)
    assert joined(pieces) == chunk
    assert [piece.finish_reason for piece in pieces] == [*[None] * (len(pieces) - 1), FinishReason.STOP]
    assert all(len(piece.token_ids) == 1 for piece in pieces[:-1])
    assert len(pieces[-1].token_ids) == 1 or len(joined(pieces[:-1]).text if pieces[:-1] else "") >= chars


def test_an_unfinished_character_counts_for_the_token_that_ends_it() -> None:
    def decode_bytes(ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    chunk = Chunk(tuple("é</".encode()), "é</", FinishReason.STOP)
    assert [piece.text for piece in singly(chunk, decode_bytes, 9)] == ["", "é", "<", "/"]
