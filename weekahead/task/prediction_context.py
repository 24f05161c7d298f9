"""What stands around a token of a prediction: whose call it is, and what a figure belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from weekahead.task.prediction_kinds import Kind
from weekahead.task.prediction_tokens import Token

SEPARATORS = (
    Kind.STOP, Kind.QUESTION, Kind.LINE_END, Kind.COMMA, Kind.COLON, Kind.OPEN, Kind.CLOSE,
    Kind.BUT,
)  # fmt: skip
_TRANSPARENT = (Kind.FILLER, Kind.ABOUT, Kind.BETWEEN, Kind.LABEL)
_FOREIGN_PAST = frozenset(
    ("last", "yesterday", "ytd", "year-to-date", "year to date", "so far", "ago", "this year",
     "this quarter", "this month", "yoy", "year-over-year", "year over year", "year on year",
     "since then", "week-over-week")
)  # fmt: skip
_OBJECTS = {Kind.FOREIGN: Kind.FOREIGN, Kind.ODDS: Kind.FOREIGN, Kind.UNKNOWN: Kind.UNKNOWN}
_DETERMINERS = frozenset(("the", "its", "their"))
_OBJECT_PREPOSITIONS = frozenset(("in", "into", "for", "against", "to"))
_NOUNS_OF_PARTICLES = frozenset(
    ("pressure", "momentum", "trend", "trends", "bias", "trajectory", "movement", "move", "moves")
)
_BEFORE_PARTICLE = (
    Kind.SHIFT, Kind.EXPECT, Kind.FILLER, Kind.STOCK, Kind.FIGURE, Kind.JOIN, Kind.OWNER,
    Kind.MOVE, Kind.PARTICLE, Kind.ABOUT, Kind.NEGATION, Kind.DENIAL, Kind.MAYBE, Kind.NUMBER,
    *SEPARATORS,
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """The tokens of a prediction, to look at from any of them. Each look is at a few tokens."""

    tokens: Sequence[Token]

    def kind(self, index: int) -> Kind:
        """The kind of a token; a stop before the first and behind the last."""
        return self.tokens[index].kind if 0 <= index < len(self.tokens) else Kind.STOP

    def text(self, index: int) -> str:
        """The text of a token; empty outside the line."""
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def skip(self, index: int, limit: int = 6) -> int:
        """The next token from `index` that is no filler."""
        end = min(index + limit, len(self.tokens))
        while index < end and self.kind(index) in _TRANSPARENT:
            index += 1
        return index

    # --- figures ----------------------------------------------------------------------------------

    def figure_follows(self, index: int) -> bool:
        """Whether a figure is next from `index`."""
        return self.kind(self.skip(index)) is Kind.FIGURE

    def figure_at(self, index: int) -> bool:
        """Whether a figure, or a bound and its figure, stands here."""
        is_bound = self.kind(index) in (Kind.MOST, Kind.LEAST)
        return self.kind(index + is_bound) is Kind.FIGURE

    def is_bare(self, at: int) -> bool:
        """Whether no verb, "by" or "of" takes the figure: "Up 70%", "Up (70%)"."""
        index = at - 1
        while index >= 0 and self.kind(index) in (Kind.MOST, Kind.LEAST, Kind.FILLER):
            index -= 1
        kind = self.kind(index)
        return kind not in (Kind.ABOUT, Kind.BETWEEN, Kind.MOVE) or self.tokens[index].text == "~"

    # --- calls ------------------------------------------------------------------------------------

    def owns_itself(self, at: int) -> bool:
        """Whether no verb before "up" or "down" makes it its particle."""
        if at == 0:
            return True
        before = self.tokens[at - 1]
        if before.text == "to":  # "flat to up"
            return self.kind(at - 2) in (Kind.MOVE, Kind.PARTICLE)
        return before.kind in _BEFORE_PARTICLE or before.is_ticker or not before.text[0].isalpha()

    def is_past(self, at: int) -> bool:
        """Whether a past time follows in the clause: "up 3% last week", "up 30% since the low"."""
        has_figure = False
        for index in range(at + 1, min(at + 12, len(self.tokens))):
            token = self.tokens[index]
            if token.text == "since" and has_figure:
                return self.kind(index + 1) in (Kind.FILLER, Kind.PAST, Kind.NUMBER)
            if token.kind in (*SEPARATORS, Kind.ASIDE):
                return False
            if token.kind is Kind.PAST and token.text in _FOREIGN_PAST:
                return True
            has_figure = has_figure or token.kind is Kind.FIGURE
        return False

    def object_of(self, at: int) -> Kind | None:
        """FOREIGN or UNKNOWN if something else moves: "higher rates", "an increase in costs"."""
        is_particle, after = self.kind(at) is Kind.PARTICLE, at + 1
        if is_particle and self.text(after) == "by":
            behind = self.skip(after) + 1  # "up by 2% of revenue"
            is_share = self.text(behind) == "of" and self.kind(behind + 1) is Kind.FOREIGN
            return Kind.FOREIGN if is_share else None
        index = self.skip(after)
        if self.figure_at(index):
            index = self.skip(index + 1 + (self.kind(index) is not Kind.FIGURE))
        elif self.text(after) == "between" or (is_particle and self.text(after) in _DETERMINERS):
            return Kind.UNKNOWN
        if self.kind(index) is Kind.NUMBER:  # "sink 5 billion"
            index += 1
        kind = self.kind(index)
        if kind is Kind.ASIDE and self.text(index) == "than" and is_particle:
            is_time = self.kind(index + 1) in (Kind.PAST, Kind.FILLER)
            return None if is_time else Kind.UNKNOWN
        if kind in _OBJECTS:
            return None if kind is Kind.ODDS and is_particle else _OBJECTS[kind]
        if kind in (Kind.SHIFT, Kind.MODAL) and self.text(index) != "to" and not is_particle:
            # "A rise is expected" is a call, "the rise is over" is none.
            is_call = self.kind(self.skip(index + 1)) is Kind.EXPECT
            return None if is_call else Kind.UNKNOWN
        return self._object_of_preposition(at, index)

    def _object_of_preposition(self, at: int, index: int) -> Kind | None:
        """The same behind "in", "of", "to": "a rise in costs", "decline to comment"."""
        text = self.text(index)
        is_of = index > at + 1 and self.text(index - 1) == "of"
        if text not in _OBJECT_PREPOSITIONS and not is_of:
            return None
        inner = self.skip(index + 1)
        if text == "to" and self.figure_at(inner):
            inner = self.skip(inner + 1)
        kind = self.kind(inner)
        is_named = kind is Kind.UNKNOWN and self.kind(inner + 1) is Kind.FOREIGN
        if kind is Kind.FOREIGN or is_named:  # "in margin", "in gross margin"
            return Kind.FOREIGN
        is_adjunct = self.kind(at) is Kind.PARTICLE and text not in ("for", "to")
        is_name = kind is Kind.UNKNOWN and self.tokens[inner].is_capital
        return Kind.UNKNOWN if kind is Kind.UNKNOWN and not (is_name or is_adjunct) else None

    def follows_a_move(self, at: int) -> bool:
        """Whether a move is the subject of this one: "the decline should ease"."""
        index = at - 1
        is_noun = False  # "downward pressure eases", but "a downward slide"
        while at - index < 6 and self.kind(index) in (Kind.FILLER, Kind.MODAL, Kind.STOCK):
            is_noun = is_noun or self.text(index) in _NOUNS_OF_PARTICLES
            index -= 1
        kind = self.kind(index)
        return kind is Kind.MOVE or (kind is Kind.PARTICLE and is_noun)

    # --- names ------------------------------------------------------------------------------------

    def is_owner(self, at: int) -> bool:
        """Whether "'s" follows within a few words: "Home Depot's"."""
        for token in self.tokens[at + 1 : at + 6]:
            if token.kind is Kind.OWNER:
                return True
            if token.kind not in (Kind.UNKNOWN, Kind.FILLER, Kind.FOREIGN):
                return False
        return False

    def is_name(self, at: int, *, begins: bool) -> bool:
        """Whether an unknown word names the stock: a ticker, or a word with a capital.

        Every sentence begins with a capital: there, what follows must show that it is a name.
        """
        token = self.tokens[at]
        if token.is_ticker or self._follows_of(at):
            return True
        if not token.is_capital:
            return False
        if not begins:
            return True
        follower = self.tokens[at + 1] if at + 1 < len(self.tokens) else None
        if follower is None:
            return False
        is_verb = follower.kind in (Kind.MODAL, Kind.SHIFT, Kind.OPEN, Kind.COLON)
        if follower.text == "to" or (follower.kind is Kind.STOCK and follower.text[:3] == "pri"):
            return False
        is_verb = is_verb or follower.kind is Kind.STOCK
        is_joined = follower.text == "&"
        return is_verb or is_joined or (follower.kind is Kind.UNKNOWN and follower.is_capital)

    def _follows_of(self, at: int) -> bool:
        """Whether it is in "shares of the tech giant"."""
        for index in range(at - 1, max(-1, at - 6), -1):
            if self.tokens[index].text == "of":
                return index > 0 and self.tokens[index - 1].kind is Kind.STOCK
            if self.tokens[index].kind not in (Kind.UNKNOWN, Kind.FILLER):
                return False
        return False
