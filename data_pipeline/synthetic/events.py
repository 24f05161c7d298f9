"""What can happen to a fictional firm in a week: event sentences, and which way each one points.

Each side speaks of orders, costs, products, courts and lenders in words of its own, and no single
word gives a week away: three events pull at once. `{firm}` is the firm's short name and `{n}` a
percentage. The unseen wordings describe events of the same kinds; no training row has one.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Firm(NamedTuple):
    """A made-up company."""

    symbol: str
    name: str
    business: str


@dataclass(frozen=True)
class Event:
    """One kind of news: its sentence with open slots, and what it means to the price.

    `sign` is +1, -1 or 0.
    """

    text: str
    sign: int


_GOOD = (
    "{firm} beat profit forecasts by a wide margin.",
    "Strong demand lifted orders by {n} percent.",
    "{firm} won a large contract from the state.",
    "A breakthrough cut production costs by {n} percent.",
    "Customers praised the new product, and it sold out.",
    "{firm} raised its dividend after a record quarter.",
    "The regulator approved its main product.",
    "Analysts upgraded {firm} and praised its growth.",
    "{firm} settled its last lawsuit on good terms.",
    "The company repaid its debt ahead of schedule.",
    "A big investor bought a large stake in {firm}.",
    "The new factory opened early and runs at full speed.",
)
_BAD = (
    "{firm} missed profit forecasts by a wide margin.",
    "Weak demand cut orders by {n} percent.",
    "{firm} lost its largest customer to a rival.",
    "A shortage drove production costs up by {n} percent.",
    "Faults in the new product forced a recall.",
    "{firm} suspended its dividend after a heavy loss.",
    "The regulator fined the company for safety breaches.",
    "Analysts downgraded {firm} and warned of losses.",
    "{firm} was sued by angry investors.",
    "Lenders refused to extend the debt of the company.",
    "The chief executive of {firm} resigned in a scandal.",
    "A fire shut down the main factory for weeks.",
)
_NEUTRAL = (
    "{firm} will hold its annual meeting next month.",
    "The board confirmed the auditor for another year.",
    "{firm} moved its headquarters across town.",
    "The company published its yearly calendar.",
)
_GOOD_UNSEEN = (
    "Management now expects earnings well above plan.",
    "Sales abroad doubled within a year.",
    "{firm} signed its biggest partnership so far.",
    "Credit agencies raised the rating of {firm}.",
)
_BAD_UNSEEN = (
    "Management now expects earnings well below plan.",
    "Unsold goods are piling up in the warehouses.",
    "Hackers stole the customer data of {firm}.",
    "Credit agencies cut the rating of {firm}.",
)


def _events(good: tuple[str, ...], bad: tuple[str, ...]) -> tuple[Event, ...]:
    return tuple(Event(text, +1) for text in good) + tuple(Event(text, -1) for text in bad)


SEEN: tuple[Event, ...] = _events(_GOOD, _BAD)
UNSEEN: tuple[Event, ...] = _events(_GOOD_UNSEEN, _BAD_UNSEEN)
NEUTRAL: tuple[Event, ...] = tuple(Event(text, 0) for text in _NEUTRAL)

FIRMS = (
    Firm("ALDW", "Alderwick", "food"),
    Firm("BRNT", "Brontelle", "energy"),
    Firm("CASP", "Casperon", "software"),
    Firm("DRUM", "Drumlane", "railway"),
    Firm("ELMO", "Elmoreth", "paper"),
    Firm("FARV", "Farvale", "farming"),
    Firm("GRIT", "Gritstone", "mining"),
    Firm("HOLM", "Holmsea", "shipping"),
    Firm("IVER", "Iverdale", "clothing"),
    Firm("JUNO", "Junoware", "chip"),
    Firm("KELP", "Kelpholm", "fishing"),
    Firm("LARK", "Larkfield", "media"),
    Firm("MOSS", "Mossgate", "housing"),
    Firm("NORD", "Nordvane", "steel"),
    Firm("OPAL", "Opalent", "jewellery"),
    Firm("PINE", "Pinecrest", "furniture"),
    Firm("QUIL", "Quillford", "publishing"),
    Firm("RIVE", "Riversend", "water"),
    Firm("SOLA", "Solarent", "solar"),
    Firm("TARN", "Tarnbrook", "brewing"),
    Firm("ULMA", "Ulmarine", "boat"),
    Firm("VEST", "Vestonia", "insurance"),
    Firm("WREN", "Wrenmoor", "toy"),
    Firm("ZEPH", "Zephyrix", "airline"),
)
