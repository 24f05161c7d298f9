"""What a token of a prediction can be to its grammar."""

from enum import Enum, auto


class Kind(Enum):
    """What a token is to the grammar of `weekahead.task.prediction_scan`."""

    MOVE = auto()
    """A verb or noun of movement: "rise", "a decline", "flat"."""
    PARTICLE = auto()
    """"up", "down": a call only where no other verb owns it."""
    SHIFT = auto()
    """A verb that leaves the direction to its particle: "edge up", "is down"."""
    EXPECT = auto()
    """What announces a forecast, or labels one: "expected", "call"."""
    MODAL = auto()
    """A verb or "to" in front of the move: "will", "should", "experience"."""
    MAYBE = auto()
    """"risk of", "potential for": what follows is not stated."""
    NEGATION = auto()
    DENIAL = auto()
    """A negation that may follow the move: "a rise is unlikely"."""
    MIXED = auto()
    STOCK = auto()
    FILLER = auto()
    """Articles, adverbs of degree, times: they change nothing."""
    LABEL = auto()
    """The name of a size: "expected change: 1-2%"."""
    ODDS = auto()
    """How sure the answer is: its figures are no sizes."""
    FOREIGN = auto()
    """Something else that moves: revenue, margins, rates."""
    PAST = auto()
    """A past move or time; it is no forecast."""
    ASIDE = auto()
    """Opens a cause, a condition or a comparison, which lasts to its comma."""
    JOIN = auto()
    BUT = auto()
    INTO = auto()
    """A preposition: what follows belongs to it."""
    ABOUT = auto()
    """"by", "of", "around": what stands between a move and its size."""
    MOST = auto()
    LEAST = auto()
    BETWEEN = auto()
    OWNER = auto()
    """"'s"."""
    UNIT = auto()
    FIGURE = auto()
    NUMBER = auto()
    """A number that is no percentage."""
    STOP = auto()
    LINE_END = auto()
    QUESTION = auto()
    COMMA = auto()
    COLON = auto()
    OPEN = auto()
    CLOSE = auto()
    UNKNOWN = auto()
