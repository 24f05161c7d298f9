"""What can happen to a fictional firm in a week: event sentences, and which way each one points.

Each side speaks of orders, costs, products, courts and lenders in words of its own, and no single word
tells a week: three events pull at once. `{firm}` is the firm's short name and `{n}` a percentage. The
unseen wordings describe events of the same kinds; no training row holds one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One kind of news: its sentence with open slots, and +1, -1 or 0 for what it means to the price."""

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

FIRMS: tuple[tuple[str, str, str], ...] = (
    # symbol, name, business: every one of them made up
    ("ALDW", "Alderwick", "food"),
    ("BRNT", "Brontelle", "energy"),
    ("CASP", "Casperon", "software"),
    ("DRUM", "Drumlane", "railway"),
    ("ELMO", "Elmoreth", "paper"),
    ("FARV", "Farvale", "farming"),
    ("GRIT", "Gritstone", "mining"),
    ("HOLM", "Holmsea", "shipping"),
    ("IVER", "Iverdale", "clothing"),
    ("JUNO", "Junoware", "chip"),
    ("KELP", "Kelpholm", "fishing"),
    ("LARK", "Larkfield", "media"),
    ("MOSS", "Mossgate", "housing"),
    ("NORD", "Nordvane", "steel"),
    ("OPAL", "Opalent", "jewellery"),
    ("PINE", "Pinecrest", "furniture"),
    ("QUIL", "Quillford", "publishing"),
    ("RIVE", "Riversend", "water"),
    ("SOLA", "Solarent", "solar"),
    ("TARN", "Tarnbrook", "brewing"),
    ("ULMA", "Ulmarine", "boat"),
    ("VEST", "Vestonia", "insurance"),
    ("WREN", "Wrenmoor", "toy"),
    ("ZEPH", "Zephyrix", "airline"),
)
