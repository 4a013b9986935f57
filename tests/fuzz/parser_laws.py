"""What holds for every text, however it is chunked: the laws that the parser is fuzzed against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sprint.errors import ProtocolError
from sprint.reader import prompt_ends
from sprint.render import trajectory_text
from sprint.tags import Tag, TagKind, TagLexer, Text, contains_tag, lex, parse, prompts_of
from sprint.tokenizer import ByteTokenizer, Tokenizer
from tests.fuzz.broken import holds
from tests.unit.strategies import JoiningTokenizer, merged

Pieces = list[Text | Tag]


def check(chunks: Sequence[str]) -> None:
    """Lexes, parses and reads back. Raises Broken where a law does not hold."""
    text = "".join(chunks)
    whole = lex(text)
    lexer = TagLexer()
    pieces = [piece for chunk in chunks for piece in lexer.feed(chunk)] + lexer.close()
    holds("".join(piece.text for piece in pieces) == text, "no text is lost or invented", pieces)
    holds(merged(pieces) == whole, "pieces do not depend on the chunking", (pieces, whole))
    holds(contains_tag(text) == any(isinstance(piece, Tag) for piece in whole), "the tags are those that are found")
    prompts_of(text)
    _parses_or_says_why(text)


def _parses_or_says_why(text: str) -> None:
    try:
        trajectory = parse(text)
    except ProtocolError as error:
        holds(0 < len(str(error)) < 200 and "\n" not in str(error), "a refusal is one sentence", str(error))
        return
    holds(parse(trajectory_text(trajectory)) == trajectory, "parse is the inverse of render", trajectory)
    for round in trajectory.rounds:
        holds(len(prompts_of(round.plan)) == len(round.executions), "one execution per prompt", round)


def check_reader(text: str) -> None:
    """Token by token, the tags are those of the text, and each prompt ends with the id that closes it."""
    closed = list(_ends_of_prompts(text))
    for tokenizer in _TOKENIZERS:
        ids = tokenizer.encode(text)
        ends = prompt_ends(ids, tokenizer)
        holds(len(ends) == len(closed), "every closed prompt is found", (ends, closed))
        for end, length in zip(ends, closed, strict=True):
            before, after = len(tokenizer.decode(ids[: end - 1])), len(tokenizer.decode(ids[:end]))
            holds(before < length <= after, "a prompt ends with the id that closes it", (before, length, after))


def _ends_of_prompts(text: str) -> Iterator[int]:
    """For each closing tag of a prompt, how many characters it takes to write it."""
    length = 0
    for piece in lex(text):
        length += len(piece.text)
        if isinstance(piece, Tag) and piece.kind is TagKind.PROMPT and piece.closing:
            yield length


_TOKENIZERS: tuple[Tokenizer, ...] = (ByteTokenizer(), JoiningTokenizer())
