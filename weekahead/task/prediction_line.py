"""Reads a prediction line: which direction it states, and how many percent.

The reader is a grammar of what it knows. Its words are the tables of `prediction_words`; what is in
none of them is unknown, and before a call an unknown word ends the reading with a reason that names
it.

    prediction := clause (separator clause)*
    clause     := [subject] [modal or expectation]* call [size] [anything]
    subject    := the stock: "shares", "it", a name, a ticker, "Name's stock"; or nothing
    call       := a verb or noun of movement, or "up", "down", "higher" with no verb of their own
    size       := ["by" "of" "to" "about"] ["more than"] figure

1. A clause whose subject moves otherwise ("revenue", "margins", "confidence") states nothing, and
   its figures are no sizes. So do causes, conditions, comparisons and past moves.
2. "up" and "down" after an unknown verb are its particle ("ramp up"), not a call.
3. A size directly follows the call that it belongs to, or directly precedes it ("a 1-2% gain").
   If a noun follows the figure ("12% growth"), the figure belongs to the noun.
4. After the first call, what is unknown is skipped up to the next separator. A further call in
   another direction is a contradiction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from weekahead.task.prediction_tokens import Figure, Token, tokens_of
from weekahead.task.prediction_words import Kind

NO_DIRECTION = "the prediction states no direction"
CONTRADICTS = "the prediction contradicts itself"
NEGATED = "the prediction negates a direction"
UNKNOWN_WORDS = "the prediction has unknown words"
ASKS = "the prediction asks"
READING_FAILURES = (NO_DIRECTION, CONTRADICTS, NEGATED, UNKNOWN_WORDS, ASKS)
_BARE_LIMIT = 20.0
"""A bare figure beside "up" of this many percent or more may be odds: it is not read as a size."""
_NAMED_WORDS, _NAMED_LETTERS = 2, 16
_MORE_THAN = 0.5
"""What "more than" adds to its figure: "more than 5%" is 5.5, as in the public benchmark."""


@dataclass(frozen=True)
class Reading:
    """What a line states."""

    direction: int | None
    """-1, 0 or +1; None if it was not read."""
    magnitude: float | None = None
    """In percent, with the sign of the direction."""
    reason: str | None = None
    """Why there is no direction: one of READING_FAILURES; unknown words stand after ": "."""


def read_prediction(text: str) -> Reading:
    """Read one prediction, a phrase ("Up by 1-2%") or a few sentences, in linear time.

    A range counts as its middle; "more than 5%", ">5%" and "5+%" as the figure plus 0.5; "less than
    1%" as half of the figure; no move as 0. Without a figure, or with several as alternatives, the
    magnitude is None; the direction may still be read.
    """
    return _Scan(tokens_of(text)).read()


def kind_of_failure(reason: str | None) -> str | None:
    """`reason` without the words that it names, so that it can be counted."""
    return UNKNOWN_WORDS if reason and reason.startswith(UNKNOWN_WORDS) else reason


# What a clause is closed by, and which separators open it again.
_SENTENCE_ENDS = (Kind.STOP, Kind.QUESTION, Kind.LINE_END)
_SEPARATORS = (*_SENTENCE_ENDS, Kind.COMMA, Kind.COLON, Kind.OPEN, Kind.CLOSE, Kind.BUT)
_TRANSPARENT = (Kind.FILLER, Kind.ABOUT, Kind.BETWEEN, Kind.LABEL)
_FOREIGN_PAST = frozenset(
    ("last", "yesterday", "ytd", "year-to-date", "year to date", "so far", "ago", "this year",
     "this quarter", "this month", "yoy", "year-over-year", "year over year", "year on year",
     "since then", "week-over-week")
)  # fmt: skip
_NOUN_AFTER_FIGURE = (Kind.UNKNOWN, Kind.FOREIGN, Kind.ODDS, Kind.MAYBE)
_OBJECTS = {Kind.FOREIGN: Kind.FOREIGN, Kind.ODDS: Kind.FOREIGN, Kind.UNKNOWN: Kind.UNKNOWN}
_FIGURE_IS_OF = frozenset(("of", "above", "below", "under", "off"))
"""Words behind a figure that make it a share or a distance: "12% above its average"."""
_DETERMINERS = frozenset(("the", "its", "their"))
_OBJECT_PREPOSITIONS = frozenset(("in", "into", "for", "against", "to"))
_BEFORE_SUBJECT = frozenset(
    ("we", "i", "expect", "expects", "predict", "predicts", "anticipate", "anticipates", "forecast",
     "forecasts", "project", "projects", "believe", "think", "that")
)  # fmt: skip
_NOUNS_OF_PARTICLES = frozenset(
    ("pressure", "momentum", "trend", "trends", "bias", "trajectory", "movement", "move", "moves")
)
_BEFORE_PARTICLE = (
    Kind.SHIFT, Kind.EXPECT, Kind.FILLER, Kind.STOCK, Kind.FIGURE, Kind.JOIN, Kind.OWNER,
    Kind.MOVE, Kind.PARTICLE, Kind.ABOUT, Kind.NEGATION, Kind.DENIAL, Kind.MAYBE, Kind.NUMBER,
    *_SEPARATORS,
)  # fmt: skip


@dataclass
class _Scan:
    """One pass over the tokens of a prediction, from left to right."""

    tokens: Sequence[Token]
    at: int = 0
    stated: set[int] = field(default_factory=set[int])
    possible: set[int] = field(default_factory=set[int])
    """"Risk of a fall" contradicts up, but does not state down."""
    size: float | None = None
    has_size: bool = False
    failure: str | None = None
    is_mixed: bool = False
    # Of the clause.
    closed_by: Kind | None = None
    """What makes the rest of the clause say nothing about the forecast."""
    negated: bool = False
    maybe: bool = False
    in_predicate: bool = False
    begins: bool = True
    """Whether nothing but separators came before in the sentence."""
    is_fronted: bool = False
    """Whether the sentence began with a cause or condition."""
    called_in_sentence: bool = False
    after_comma: bool = False
    # Of the size.
    takes_size: bool = False
    """Whether a call directly before may take a figure."""
    pending: Figure | None = None
    """A figure directly before a call."""
    lone: list[Figure] = field(default_factory=list[Figure])
    outer: list[Kind | None] = field(default_factory=list["Kind | None"])

    def read(self) -> Reading:
        """What the tokens state."""
        for at, token in enumerate(self.tokens):
            self.at = at
            self._step(token)
            if self.failure:
                return Reading(None, reason=self.failure)
        if not self.stated and len(self.lone) == 1 and self.lone[0].states_direction:
            (direction,) = self.lone[0].signs
            self.stated.add(direction)
            self.size, self.has_size = self.lone[0].size, True
        if not self.stated:
            return Reading(None, reason=NO_DIRECTION)
        if self.is_mixed or len(self.stated | self.possible) > 1:
            return Reading(None, reason=CONTRADICTS)
        direction = self.stated.pop()
        if direction == 0:
            return Reading(0, 0.0)
        return Reading(direction, None if self.size is None else direction * self.size)

    # --- one token --------------------------------------------------------------------------------

    def _step(self, token: Token) -> None:
        kind = token.kind
        if kind in _SEPARATORS:
            self._separate(kind)
            return
        if self.closed_by is Kind.FOREIGN and self.after_comma and kind is Kind.STOCK:
            self.closed_by = None
        if self.closed_by is Kind.PAST and kind is Kind.JOIN:
            self.closed_by = None
        if self.closed_by is None:
            self._read_open(token)
        self.begins = False
        if kind not in (Kind.FILLER, Kind.JOIN, Kind.EXPECT):
            self.after_comma = False

    def _separate(self, kind: Kind) -> None:
        if kind is Kind.OPEN:
            self.outer.append(self.closed_by)
            return
        if kind is Kind.CLOSE:
            self.closed_by = self.outer.pop() if self.outer else self.closed_by
            return
        if kind is Kind.COLON:
            # "Confidence 70%: up" and "high confidence: up" begin anew, "confidence: 70%" does not.
            before = self.at - 1
            is_whole = self._kind(before) is Kind.FIGURE or " conf" in self._text(before)
            if self.closed_by is Kind.ODDS and is_whole:
                self.closed_by = None
            if self.closed_by is None:
                self.in_predicate = False
            return
        if kind is Kind.COMMA:
            # "EPS of $2, up 8%": what stands bare behind something else is still about it.
            self.after_comma = True
            if self.closed_by is not Kind.FOREIGN:
                self.closed_by = None
            self.negated = self.maybe = False
            return
        self.closed_by = None
        self.negated = self.maybe = self.in_predicate = self.is_fronted = False
        self.begins = kind is not Kind.BUT
        self.outer = []
        if kind is Kind.QUESTION and self.called_in_sentence:
            self.failure = ASKS
        if kind is not Kind.LINE_END:
            self.takes_size = self.takes_size and kind is Kind.BUT
            self.pending = None
            self.called_in_sentence = False

    def _read_open(self, token: Token) -> None:
        readers: dict[Kind, Callable[[Token], None]] = {
            Kind.MOVE: self._call,
            Kind.PARTICLE: self._call,
            Kind.FIGURE: self._figure,
            Kind.UNKNOWN: self._unknown,
            Kind.FOREIGN: self._other_subject,
            Kind.ODDS: self._other_subject,
            Kind.PAST: self._other_subject,
            Kind.ASIDE: self._aside,
            Kind.INTO: self._into,
            Kind.NEGATION: self._negate,
            Kind.DENIAL: self._negate,
            Kind.SHIFT: self._predicate,
            Kind.EXPECT: self._predicate,
            Kind.MODAL: self._predicate,
            Kind.MOST: self._bound,
            Kind.LEAST: self._bound,
            Kind.MAYBE: self._announce,
            Kind.MIXED: self._announce,
            Kind.LABEL: self._announce,
        }
        if token.kind in readers:
            readers[token.kind](token)

    def _other_subject(self, token: Token) -> None:
        if not self._is_owner():
            self._close(token.kind)

    def _aside(self, _: Token) -> None:
        self.is_fronted = self.is_fronted or self.begins
        self._close(Kind.ASIDE)

    def _into(self, token: Token) -> None:
        """A preposition: at the start of a sentence it opens an aside."""
        if self.begins:
            self._aside(token)

    def _predicate(self, token: Token) -> None:
        # "We expect Apple to rise": the subject is still to come.
        self.in_predicate = token.text not in _BEFORE_SUBJECT
        self.pending = None

    def _bound(self, token: Token) -> None:
        """ "more than" without a figure compares with something else."""
        if token.text[0].isalpha() and not self._figure_follows(self.at + 1):
            self._close(Kind.ASIDE)

    def _announce(self, token: Token) -> None:
        self.maybe = self.maybe or token.kind is Kind.MAYBE
        self.is_mixed = self.is_mixed or token.kind is Kind.MIXED
        if token.kind is Kind.LABEL:
            self.takes_size = bool(self.stated) and not self.has_size

    def _close(self, kind: Kind) -> None:
        self.closed_by = kind
        self.takes_size = False
        self.pending = None

    def _negate(self, token: Token) -> None:
        before = self._kind(self.at - 1)
        is_denial = token.kind is Kind.DENIAL and before not in (*_SEPARATORS, Kind.INTO, Kind.JOIN)
        if self.called_in_sentence and is_denial:
            self.failure = NEGATED
        self.negated = True

    # --- calls ------------------------------------------------------------------------------------

    def _call(self, token: Token) -> None:
        closed = self._closed_by_context(token)
        if closed is Kind.UNKNOWN:
            self._close_unknown()
            return
        if closed is not None:
            self._close(closed)
            return
        if self.negated:
            self.failure = NEGATED
            return
        if self._moves_a_move():
            self.failure = CONTRADICTS
            return
        if self.maybe:
            self.possible.add(token.direction)
            self.maybe = False
            return
        self.stated.add(token.direction)
        self.called_in_sentence = self.in_predicate = True
        self.takes_size = not self.has_size
        if self.pending is not None:
            self._take(self.pending, is_bare=token.kind is Kind.PARTICLE)

    def _closed_by_context(self, token: Token) -> Kind | None:
        """Why a word of movement is no call: what stands before it or what it is about."""
        if token.text in ("up", "down") and not self._owns_itself():
            return Kind.UNKNOWN
        if self._is_past():
            return Kind.PAST
        return self._object(token)

    def _owns_itself(self) -> bool:
        """Whether no verb before "up" or "down" makes it its particle."""
        if self.at == 0:
            return True
        before = self.tokens[self.at - 1]
        if before.text == "to":  # "flat to up"
            return self._kind(self.at - 2) in (Kind.MOVE, Kind.PARTICLE)
        return before.kind in _BEFORE_PARTICLE or before.is_ticker or not before.text[0].isalpha()

    def _is_past(self) -> bool:
        """Whether a past time follows in the clause: "up 3% last week", "up 30% since the low"."""
        has_figure = False
        for index in range(self.at + 1, min(self.at + 12, len(self.tokens))):
            token = self.tokens[index]
            if token.text == "since" and has_figure:
                return self._kind(index + 1) in (Kind.FILLER, Kind.PAST, Kind.NUMBER)
            if token.kind in (*_SEPARATORS, Kind.ASIDE):
                return False
            if token.kind is Kind.PAST and token.text in _FOREIGN_PAST:
                return True
            has_figure = has_figure or token.kind is Kind.FIGURE
        return False

    def _object(self, token: Token) -> Kind | None:
        """FOREIGN or UNKNOWN if something else moves: "higher rates", "an increase in costs"."""
        is_particle, after = token.kind is Kind.PARTICLE, self.at + 1
        if is_particle and self._text(after) == "by":
            return None
        index = self._skip(after)
        if self._figure_at(index):
            index = self._skip(index + 1 + (self._kind(index) is not Kind.FIGURE))
        elif self._text(after) == "between" or (is_particle and self._text(after) in _DETERMINERS):
            return Kind.UNKNOWN
        if self._kind(index) is Kind.NUMBER:  # "sink 5 billion"
            index += 1
        kind = self._kind(index)
        if kind is Kind.ASIDE and self._text(index) == "than" and is_particle:
            is_time = self._kind(index + 1) in (Kind.PAST, Kind.FILLER)
            return None if is_time else Kind.UNKNOWN
        if kind in _OBJECTS:
            return None if kind is Kind.ODDS and is_particle else _OBJECTS[kind]
        if kind in (Kind.SHIFT, Kind.MODAL) and self._text(index) != "to" and not is_particle:
            # "A rise is expected" is a call, "the rise is over" is none.
            is_call = self._kind(self._skip(index + 1)) is Kind.EXPECT
            return None if is_call else Kind.UNKNOWN
        return self._object_of_preposition(token, index)

    def _object_of_preposition(self, token: Token, index: int) -> Kind | None:
        """The same behind "in", "of", "to": "a rise in costs", "decline to comment"."""
        text = self._text(index)
        is_of = index > self.at + 1 and self._text(index - 1) == "of"
        if text not in _OBJECT_PREPOSITIONS and not is_of:
            return None
        inner = self._skip(index + 1)
        if text == "to" and self._figure_at(inner):
            inner = self._skip(inner + 1)
        kind = self._kind(inner)
        if kind is Kind.FOREIGN:
            return Kind.FOREIGN
        is_adjunct = token.kind is Kind.PARTICLE and text not in ("for", "to")
        is_name = kind is Kind.UNKNOWN and self.tokens[inner].is_capital
        return Kind.UNKNOWN if kind is Kind.UNKNOWN and not (is_name or is_adjunct) else None

    def _moves_a_move(self) -> bool:
        """Whether a move is the subject of this one: "the decline should ease"."""
        index = self.at - 1
        is_noun = False  # "downward pressure eases", but "a downward slide"
        while self._kind(index) in (Kind.FILLER, Kind.MODAL, Kind.STOCK) and self.at - index < 6:
            is_noun = is_noun or self._text(index) in _NOUNS_OF_PARTICLES
            index -= 1
        kind = self._kind(index)
        is_subject = kind is Kind.MOVE or (kind is Kind.PARTICLE and is_noun)
        return index >= 0 and self.called_in_sentence and is_subject

    # --- sizes ------------------------------------------------------------------------------------

    def _figure(self, token: Token) -> None:
        figure = self._bounded(token.figure or Figure(None))
        is_share = self._text(self.at + 1) in _FIGURE_IS_OF
        if is_share or self._kind(self._skip(self.at + 1)) in _NOUN_AFTER_FIGURE:
            self.takes_size = False
            return
        if self.takes_size and not self.has_size:
            self._take(figure, is_bare=self._is_bare())
        elif not self.stated:
            self.pending = figure
            self.lone.append(figure)

    def _bounded(self, figure: Figure) -> Figure:
        before = self._kind(self.at - 1)
        if before not in (Kind.MOST, Kind.LEAST) or figure.size is None or figure.is_range:
            return figure
        size = figure.size / 2 if before is Kind.MOST else figure.size + _MORE_THAN
        return Figure(size, figure.is_range, figure.signs, figure.states_direction)

    def _is_bare(self) -> bool:
        """Whether no verb, "by" or "of" takes the figure: "Up 70%", "Up (70%)"."""
        index = self.at - 1
        while index >= 0 and self._kind(index) in (Kind.MOST, Kind.LEAST, Kind.FILLER):
            index -= 1
        kind = self._kind(index)
        return kind not in (Kind.ABOUT, Kind.BETWEEN, Kind.MOVE) or self.tokens[index].text == "~"

    def _take(self, figure: Figure, *, is_bare: bool) -> None:
        self.takes_size, self.pending = False, None
        if is_bare and (figure.size or 0) >= _BARE_LIMIT:
            return
        self.has_size = True
        self.size = figure.size
        directions = self.stated - {0}
        if 0 not in self.stated and figure.signs - directions:
            self.failure = CONTRADICTS

    def _figure_follows(self, index: int) -> bool:
        return self._kind(self._skip(index)) is Kind.FIGURE

    def _figure_at(self, index: int) -> bool:
        """Whether a figure, or a bound and its figure, stands here."""
        is_bound = self._kind(index) in (Kind.MOST, Kind.LEAST)
        return self._kind(index + is_bound) is Kind.FIGURE

    # --- unknown words ----------------------------------------------------------------------------

    def _unknown(self, token: Token) -> None:
        if token.is_ticker and self._kind(self.at - 1) is Kind.INTO:
            return
        if self.in_predicate or not (self._is_owner() or self._is_name(token)):
            self._close_unknown()

    def _close_unknown(self) -> None:
        """Skip the clause after a call or a fronted cause; before them the reading ends."""
        self._close(Kind.UNKNOWN)
        if self.stated or self.is_fronted or self.lone or self.is_mixed:
            return
        words: list[str] = []
        for token in self.tokens[self.at : self.at + _NAMED_WORDS]:
            if token.kind in _SEPARATORS or token.kind in (Kind.FIGURE, Kind.NUMBER):
                break
            words.append(token.text[:_NAMED_LETTERS])
        self.failure = f"{UNKNOWN_WORDS}: {' '.join(words)}"

    def _is_owner(self) -> bool:
        """Whether "'s" follows within a few words: "Home Depot's"."""
        for token in self.tokens[self.at + 1 : self.at + 6]:
            if token.kind is Kind.OWNER:
                return True
            if token.kind not in (Kind.UNKNOWN, Kind.FILLER, Kind.FOREIGN):
                return False
        return False

    def _is_name(self, token: Token) -> bool:
        """Whether an unknown word names the stock: a ticker, or a word with a capital.

        Every sentence begins with a capital: there, what follows must show that it is a name.
        """
        if token.is_ticker or self._follows_of():
            return True
        if not token.is_capital:
            return False
        if not self.begins:
            return True
        follower = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
        if follower is None:
            return False
        is_verb = follower.kind in (Kind.MODAL, Kind.SHIFT, Kind.OPEN, Kind.COLON)
        if follower.text == "to" or (follower.kind is Kind.STOCK and follower.text[:3] == "pri"):
            return False
        is_verb = is_verb or follower.kind is Kind.STOCK
        is_joined = follower.text == "&"
        return is_verb or is_joined or (follower.kind is Kind.UNKNOWN and follower.is_capital)

    def _follows_of(self) -> bool:
        """Whether it is in "shares of the tech giant"."""
        for index in range(self.at - 1, max(-1, self.at - 6), -1):
            if self.tokens[index].text == "of":
                return index > 0 and self.tokens[index - 1].kind is Kind.STOCK
            if self.tokens[index].kind not in (Kind.UNKNOWN, Kind.FILLER):
                return False
        return False

    # --- looking ----------------------------------------------------------------------------------

    def _kind(self, index: int) -> Kind:
        return self.tokens[index].kind if 0 <= index < len(self.tokens) else Kind.STOP

    def _text(self, index: int) -> str:
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def _skip(self, index: int, limit: int = 6) -> int:
        """The next token from `index` that is no filler."""
        end = min(index + limit, len(self.tokens))
        while index < end and self._kind(index) in _TRANSPARENT:
            index += 1
        return index
