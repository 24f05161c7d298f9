"""The grammar of a prediction line: reads its tokens once, from left to right.

Its words are the tables of `prediction_words`; what is in none of them is unknown, and before a
call an unknown word ends the reading with a reason that names it.

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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from weekahead.task.prediction_context import SEPARATORS, Line
from weekahead.task.prediction_figures import Figure
from weekahead.task.prediction_kinds import Kind
from weekahead.task.prediction_reading import (
    ASKS,
    CONTRADICTS,
    NEGATED,
    NO_DIRECTION,
    UNKNOWN_WORDS,
    Reading,
)
from weekahead.task.prediction_size import Size, belongs_to_noun, bounded_figure, upside_figure
from weekahead.task.prediction_tokens import Token

_NAMED_WORDS, _NAMED_LETTERS = 2, 16
"""How much of unknown words a reason names."""
_BEFORE_SUBJECT = frozenset(
    ("we", "i", "expect", "expects", "predict", "predicts", "anticipate", "anticipates", "forecast",
     "forecasts", "project", "projects", "believe", "think", "that")
)  # fmt: skip
_SIDES = {"upside": 1, "downside": -1}
_SAYING = frozenset(("says", "said", "say", "writes", "wrote", "argues", "claims", "reckons"))


@dataclass
class Scan:
    """One pass over the tokens of a prediction, from left to right."""

    line: Line
    at: int = 0
    stated: set[int] = field(default_factory=set[int])
    possible: set[int] = field(default_factory=set[int])
    """"Risk of a fall" contradicts up, but does not state down."""
    size: Size = field(default_factory=Size)
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
    outer: list[Kind | None] = field(default_factory=list["Kind | None"])
    """`closed_by` around each open bracket."""

    def read(self) -> Reading:
        """What the tokens state."""
        readers = self._readers()
        for at, token in enumerate(self.line.tokens):
            self.at = at
            self._step(token, readers.get(token.kind))
            if self.failure:
                return Reading(None, reason=self.failure)
        lone = self.size.lone
        if not self.stated and len(lone) == 1 and lone[0].states_direction:
            self.stated |= lone[0].signs
            self.size.taken = lone[0]
        if not self.stated:
            return Reading(None, reason=NO_DIRECTION)
        if self.is_mixed or len(self.stated | self.possible) > 1:
            return Reading(None, reason=CONTRADICTS)
        direction = self.stated.pop()
        if direction == 0:
            return Reading(0, 0.0)
        size = self.size.taken.size if self.size.taken else None
        return Reading(direction, None if size is None else direction * size)

    def _readers(self) -> Mapping[Kind, Callable[[Token], None]]:
        """What reads a token of each kind; the other kinds say nothing by themselves."""
        return {
            Kind.OPEN: self._open, Kind.CLOSE: self._shut, Kind.COLON: self._colon,
            Kind.COMMA: self._comma, Kind.STOP: self._end, Kind.QUESTION: self._end,
            Kind.LINE_END: self._end, Kind.BUT: self._end, Kind.MOVE: self._call,
            Kind.PARTICLE: self._call, Kind.FIGURE: self._figure, Kind.UNKNOWN: self._unknown,
            Kind.FOREIGN: self._other_subject, Kind.ODDS: self._odds,
            Kind.PAST: self._other_subject, Kind.ASIDE: self._aside, Kind.INTO: self._into,
            Kind.NEGATION: self._negate, Kind.DENIAL: self._negate, Kind.SHIFT: self._predicate,
            Kind.EXPECT: self._predicate, Kind.MODAL: self._predicate, Kind.MOST: self._bound,
            Kind.LEAST: self._bound, Kind.MAYBE: self._announce, Kind.MIXED: self._announce,
            Kind.LABEL: self._announce, Kind.FILLER: self._filler,
        }  # fmt: skip

    # --- one token --------------------------------------------------------------------------------

    def _step(self, token: Token, read: Callable[[Token], None] | None) -> None:
        kind = token.kind
        is_separator = kind in SEPARATORS
        if not is_separator and self._reopens(kind):
            self.closed_by = None
        if read and (is_separator or self.closed_by is None):
            read(token)
        if is_separator:
            return
        self.begins = False
        if kind not in (Kind.FILLER, Kind.JOIN, Kind.EXPECT):
            self.after_comma = False

    def _reopens(self, kind: Kind) -> bool:
        """Whether what closed the clause ends here: "revenue grows, the stock", "rose and will"."""
        if self.closed_by is Kind.FOREIGN:
            return self.after_comma and kind is Kind.STOCK
        return self.closed_by is Kind.PAST and kind is Kind.JOIN

    def _open(self, _: Token) -> None:
        self.outer.append(self.closed_by)

    def _shut(self, _: Token) -> None:
        self.closed_by = self.outer.pop() if self.outer else self.closed_by

    def _colon(self, _: Token) -> None:
        # "Confidence 70%: up" and "high confidence: up" begin anew, "confidence: 70%" does not.
        before = self.at - 1
        is_whole = self.line.kind(before) is Kind.FIGURE or " conf" in self.line.text(before)
        if self.closed_by is Kind.ODDS and is_whole:
            self.closed_by = None
        if self.closed_by is None:
            self.in_predicate = False

    def _comma(self, _: Token) -> None:
        # "EPS of $2, up 8%": what stands bare behind something else is still about it.
        self.after_comma = True
        if self.closed_by is not Kind.FOREIGN:
            self.closed_by = None
        self.negated = self.maybe = False

    def _end(self, token: Token) -> None:
        """The end of a sentence, or "but"."""
        kind = token.kind
        self.closed_by = None
        self.negated = self.maybe = self.in_predicate = self.is_fronted = False
        self.begins = kind is not Kind.BUT
        self.outer = []
        if kind is Kind.QUESTION and self.called_in_sentence:
            self.failure = ASKS
        if kind is not Kind.LINE_END:
            self.size.pending = None
            self.size.is_due = self.size.is_due and kind is Kind.BUT
            self.called_in_sentence = False

    def _other_subject(self, token: Token) -> None:
        if not self.line.is_owner(self.at):
            self._close(token.kind)

    def _odds(self, token: Token) -> None:
        """ "Confidence", "risk"; a lone "upside of 2%" is the only call of its line."""
        direction = _SIDES.get(token.text, 0)
        is_open = not (self.stated or self.possible or self.negated or self.maybe)
        figure = upside_figure(self.line, self.at) if direction and is_open else None
        if figure and not self.is_fronted:
            self.stated.add(direction)
            self._take(figure, is_bare=False)
        self._other_subject(token)

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
        self.size.pending = None

    def _filler(self, token: Token) -> None:
        """ "It is expected that Apple rises": the subject is still to come."""
        if token.text == "that" and not self.called_in_sentence:
            self.in_predicate = False

    def _bound(self, token: Token) -> None:
        """ "more than" without a figure compares with something else."""
        if token.text[0].isalpha() and not self.line.figure_follows(self.at + 1):
            self._close(Kind.ASIDE)

    def _announce(self, token: Token) -> None:
        self.maybe = self.maybe or token.kind is Kind.MAYBE
        self.is_mixed = self.is_mixed or token.kind is Kind.MIXED
        if token.kind is Kind.LABEL:
            self.size.expect(is_due=bool(self.stated))

    def _close(self, kind: Kind) -> None:
        self.closed_by = kind
        self.size.close()

    def _negate(self, token: Token) -> None:
        before = self.line.kind(self.at - 1)
        is_denial = token.kind is Kind.DENIAL and before not in (*SEPARATORS, Kind.INTO, Kind.JOIN)
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
        if self.called_in_sentence and self.line.follows_a_move(self.at):
            self.failure = CONTRADICTS
            return
        if self.maybe:
            self.possible.add(token.direction)
            self.maybe = False
            return
        self.stated.add(token.direction)
        self.called_in_sentence = self.in_predicate = True
        self.size.expect()
        if self.size.pending is not None:
            self._take(self.size.pending, is_bare=token.kind is Kind.PARTICLE)

    def _closed_by_context(self, token: Token) -> Kind | None:
        """Why a word of movement is no call: what stands before it or what it is about."""
        if token.text in ("up", "down") and not self.line.owns_itself(self.at):
            return Kind.UNKNOWN
        if self.line.is_past(self.at):
            return Kind.PAST
        return self.line.object_of(self.at)

    def _figure(self, _: Token) -> None:
        if belongs_to_noun(self.line, self.at):
            self.size.is_due = False
            return
        figure = bounded_figure(self.line, self.at)
        if self.size.is_due:
            self._take(figure, is_bare=self.line.is_bare(self.at))
        elif not self.stated:
            self.size.pending = figure
            self.size.lone.append(figure)

    def _take(self, figure: Figure, *, is_bare: bool) -> None:
        is_taken = self.size.take(figure, is_bare=is_bare)
        if is_taken and 0 not in self.stated and figure.signs - self.stated:
            self.failure = CONTRADICTS

    # --- unknown words ----------------------------------------------------------------------------

    def _unknown(self, token: Token) -> None:
        if token.is_ticker and self.line.kind(self.at - 1) is Kind.INTO:
            return
        if token.text in _SAYING and self.called_in_sentence:  # "up by 3%, says a bank"
            self._fail_at_words()
            return
        if self.in_predicate or not (
            self.line.is_owner(self.at) or self.line.is_name(self.at, begins=self.begins)
        ):
            self._close_unknown()

    def _close_unknown(self) -> None:
        """Skip the clause after a call or a fronted cause; before them the reading ends."""
        self._close(Kind.UNKNOWN)
        if self.stated or self.is_fronted or self.size.lone or self.is_mixed:
            return
        self._fail_at_words()

    def _fail_at_words(self) -> None:
        words: list[str] = []
        for token in self.line.tokens[self.at : self.at + _NAMED_WORDS]:
            if token.kind in SEPARATORS or token.kind in (Kind.FIGURE, Kind.NUMBER):
                break
            words.append(token.text[:_NAMED_LETTERS])
        self.failure = f"{UNKNOWN_WORDS}: {' '.join(words)}"
