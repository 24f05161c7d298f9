"""The tokens of a prediction: words and phrases with their kind, figures with their value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weekahead.task.prediction_figures import Figure, figure_at
from weekahead.task.prediction_kinds import Kind
from weekahead.task.prediction_pieces import Piece, pieces_of, plain
from weekahead.task.prediction_words import ABBREVIATIONS, LONGEST_PHRASE, NOT_ADVERBS, VOCABULARY


@dataclass(frozen=True)
class Token:
    """A word, a phrase, a mark or a figure of a prediction."""

    kind: Kind
    text: str
    direction: int = 0
    figure: Figure | None = None
    is_capital: bool = False
    """Written with a capital: it may be a name."""
    is_ticker: bool = False
    """Written in capitals, in a text that is not."""


_STOPS = {
    "(": Kind.OPEN, "[": Kind.OPEN, "{": Kind.OPEN, ")": Kind.CLOSE, "]": Kind.CLOSE,
    "}": Kind.CLOSE, ",": Kind.COMMA, ":": Kind.COLON, ";": Kind.STOP, "!": Kind.STOP,
    "?": Kind.QUESTION, "|": Kind.LINE_END, "-": Kind.COMMA, "=": Kind.COLON,
}  # fmt: skip


def tokens_of(text: str) -> list[Token]:
    """The tokens of a prediction, in time linear in its length."""
    text = plain(text)
    cased = any(character.islower() for character in text)
    pieces = pieces_of(text)
    tokens: list[Token | Piece] = []
    index = 0
    while index < len(pieces):
        figure, end = figure_at(pieces, index)
        if figure is None:
            tokens.append(pieces[index])
            index += 1
        else:
            tokens.append(Token(Kind.FIGURE, "".join(p.text for p in pieces[index:end]), 0, figure))
            index = end
    return list(_phrased(tokens, cased=cased))


def _phrased(tokens: Sequence[Token | Piece], *, cased: bool) -> Iterator[Token]:
    """Each figure as it is, and of the words the longest phrases that the vocabulary has."""
    index = 0
    while index < len(tokens):
        piece = tokens[index]
        if isinstance(piece, Token):
            yield piece
            index += 1
            continue
        words: list[str] = []
        longest = LONGEST_PHRASE.get(piece.text.lower(), 0)
        for following in tokens[index : index + longest]:
            if isinstance(following, Token) or following.group not in ("word", "mark"):
                break
            words.append(following.text.lower())
        length = next((n for n in range(len(words), 0, -1) if " ".join(words[:n]) in VOCABULARY), 0)
        if length:
            text = " ".join(words[:length])
            kind, direction = VOCABULARY[text]
            yield Token(kind, text, direction)
            index += length
            continue
        follower = tokens[index + 1] if index + 1 < len(tokens) else None
        before = tokens[index - 1] if index else None
        yield from _other(piece, before, follower, cased=cased)
        index += 1


def _other(
    piece: Piece, before: Token | Piece | None, follower: Token | Piece | None, *, cased: bool
) -> Iterator[Token]:
    """The token of a piece that the vocabulary lacks; none for a mark without meaning."""
    text = piece.text
    if piece.group in ("date", "number"):
        yield Token(Kind.NUMBER, text)
    elif piece.group in ("line", "break"):
        yield Token(Kind.LINE_END if piece.group == "line" else Kind.STOP, "\n")
    elif piece.group == "word":
        yield _word(text, cased=cased)
    elif text in ("'s", "'") and before is not None:
        yield Token(Kind.OWNER, text)
    elif text == ".":
        name = before.text.lower() if isinstance(before, Piece) else ""
        glued = isinstance(follower, Piece) and follower.glued
        if name not in ABBREVIATIONS and not glued:
            yield Token(Kind.STOP, text)
    elif text in _STOPS:
        yield Token(_STOPS[text], text)


def _word(text: str, *, cased: bool) -> Token:
    lower = text.lower()
    if lower.endswith("n't"):
        return Token(Kind.DENIAL, lower)
    if lower.endswith("ly") and lower not in NOT_ADVERBS:
        return Token(Kind.FILLER, lower)
    is_capital = cased and text[0].isupper()
    is_ticker = is_capital and text.isupper() and len(text) > 1
    return Token(Kind.UNKNOWN, lower, is_capital=is_capital, is_ticker=is_ticker)
