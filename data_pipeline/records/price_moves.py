"""What daily prices themselves tell about splits, wrong units, bad sessions and halts.

Every function takes arrays by session (NaN for a session without a price); log prices are natural.
A finding is the index of a session and why its price is in doubt. `price_gate` has the order.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Numbers = Any
"""A numpy array of floats by session."""

JUMP = math.log(1.8)
"""From here on a move within one session is looked at: a fall to 0.55, a rise to 1.8."""
BOUND = math.log(10)
"""A move beyond this is no return, whatever the volume: falls on news reach about 90 %."""
_UNIT = math.log(5)
_RETURNS = 0.2
"""A jump is undone if the price comes back within this share of it, in logarithms."""
_DAYS_OFF, _DAYS_OFF_UNIT = 10, 45
"""An error below and above a factor of five lasts so many sessions at most."""
_SMALL = math.log(1.15)
"""An error of less than `JUMP` must be this large, and as many usual moves as below."""
_USUAL_MOVES, _USUAL_MOVES_ALONE = 8, 12
"""With and without a volume that tells news from errors."""
_RATIO_OFF = 0.02
"""Adjusted close per close has no noise: so small a change that is undone is an error."""
_SURGE = 3.0
"""Volume of so many times its median before: there was news, and the move is real."""
_RATIOS = (1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1000)
_NEAR = 0.04
PARTLY = 30
"""An unfinished split begins or ends within so many sessions of its day."""
_PARTLY_NEAR = 0.12
_NO_SPLIT = math.log(1.16)
"""A split below this ratio cannot be told from a day's move."""
_CLEAR = math.log(1.4)
"""From this ratio on a split is told from a day's move."""
_TELLING = 5.0
"""Dividends of so many usual moves tell whether closes are adjusted for them."""
_STALE = 5
"""So many sessions without any move are stale if no volume says otherwise."""

Doubts = Mapping[int, str]


class Step(NamedTuple):
    """The move from one session with a price to the next such session."""

    before: int
    at: int
    move: float


def steps(log: Numbers) -> list[Step]:
    """Every step of a series of log prices."""
    priced = np.flatnonzero(np.isfinite(log))
    return [Step(int(i), int(j), float(log[j] - log[i])) for i, j in pairwise(priced)]


def has_volume(volume: Numbers) -> bool:
    """Whether the volume tells anything: most sessions have one."""
    return bool(np.mean(np.nan_to_num(volume) > 0) > 0.5)


def surges(volume: Numbers, at: int) -> bool:
    """Whether the volume of a session stands out from the sessions before and after it.

    After a split the volume is higher for good, so it must also fall again.
    """
    if not has_volume(volume):
        return False
    before = _median(volume[max(0, at - 120) : at])
    after = _median(volume[at + 3 : at + 40])
    here = float(np.nan_to_num(volume[at : at + 2]).max())
    enough = here >= _SURGE * before if before else False
    return enough and (after == 0 or here >= 1.5 * after)


def _median(values: Numbers) -> float:
    values = np.nan_to_num(values)
    return float(np.median(values)) if len(values) >= 5 else 0.0


def near_ratio(move: float, least: float = 2, tolerance: float = _NEAR) -> float | None:
    """The usual ratio of a split, `least` or more, that a move is near to; None if none is."""
    size = abs(move)
    close_ones = [r for r in _RATIOS if r >= least and abs(size - math.log(r)) <= tolerance]
    return close_ones[0] if close_ones else None


def excursions(log: Numbers, volume: Numbers, splits: Sequence["Split"] = ()) -> Doubts:
    """Sessions at another level than those before and after them: a unit switch, a fat finger.

    Also sessions that differ by the ratio of a listed split, which some sessions may lack.
    """
    moves = steps(log)
    doubts: dict[int, str] = {}
    back_at = 0
    for number, first in enumerate(moves):
        if first.at <= back_at:
            continue
        end = _end_of_excursion(moves, number, _Known(splits, has_volume(volume)))
        if end is None or (has_volume(volume) and _is_real(first, volume)):
            continue
        back_at = end.at
        factor = math.exp(first.move)
        for session in range(first.before + 1, end.at):
            doubts[session] = f"{factor:.3g} times the sessions before and after"
    return doubts


def _usual_move(moves: Sequence[Step], number: int) -> float:
    """The standard deviation of moves, robust; in wild weeks that of the weeks around it."""
    around = moves[max(0, number - 10) : number + 11]
    medians = [float(np.median([abs(step.move) for step in some])) for some in (moves, around)]
    return max(0.005, 1.4826 * max(medians))


class _Known(NamedTuple):
    """What a source tells beside its prices."""

    splits: "Sequence[Split]"
    volume: bool


def _end_of_excursion(moves: Sequence[Step], number: int, known: _Known) -> Step | None:
    first = moves[number]
    size = abs(first.move)
    listed = any(_is_of(split, size, _PARTLY_NEAR) for split in known.splits)
    small = size < JUMP and not listed
    if size < _SMALL:
        return None
    usual = _usual_move(moves, number)
    if small and size < (_USUAL_MOVES if known.volume else _USUAL_MOVES_ALONE) * usual:
        return None
    limit = 1 if small else (_DAYS_OFF_UNIT if size >= _UNIT or listed else _DAYS_OFF)
    total = first.move
    for step in moves[number + 1 : number + 1 + limit]:
        total += step.move
        back = step.move * first.move < 0 and abs(step.move) >= 0.6 * size
        if back and abs(total) <= min(_RETURNS * size, max(4 * usual, 0.04) * math.sqrt(limit)):
            return step
    return None


def _is_of(split: "Split", size: float, tolerance: float) -> bool:
    """Whether a move is as large as a split that is told from a day's move."""
    return abs(split.ratio) >= _CLEAR and abs(size - abs(split.ratio)) <= tolerance


def ratio_excursions(ratio: Numbers) -> Doubts:
    """Sessions in which adjusted close per close (log) leaves its level and comes back.

    One of the two is wrong there: dividends and splits change the ratio for good.
    """
    moves = steps(ratio)
    doubts: dict[int, str] = {}
    back_at = 0
    for number, first in enumerate(moves):
        total = first.move
        for step in moves[number + 1 : number + 1 + _DAYS_OFF_UNIT]:
            total += step.move
            is_back = abs(total) <= 0.1 * abs(first.move) and step.move * first.move < 0
            if abs(first.move) >= _RATIO_OFF and first.at > back_at and is_back:
                factor = f"{math.exp(first.move):.3g} times its level before and after"
                for session in range(first.before + 1, step.at):
                    doubts[session] = f"adjusted close per close is {factor}"
                back_at = step.at
                break
    return doubts


def _is_real(step: Step, volume: Numbers) -> bool:
    """Whether a jump that comes back may be one of the market: the volume rose with it."""
    return abs(step.move) < math.log(8) and surges(volume, step.at)


class Split(NamedTuple):
    """A split that the source lists: the first session in new shares, log(new shares per old)."""

    at: int
    ratio: float


class Undone(NamedTuple):
    """Log prices in shares of the last day throughout, and what was found on the way."""

    log: Numbers
    doubts: Doubts
    not_applied: tuple[int, ...]
    """Sessions of splits that the prices before them did not contain."""


def apply_splits(log: Numbers, splits: Sequence[Split], volume: Numbers) -> Undone:
    """Divide the prices before each split by it, if the source has not done so.

    The step at the split tells it: no move if it is applied, a move of the inverse ratio if not.
    The other way round (applied twice, or an inverted ratio) all prices before are in doubt.
    """
    log = log.copy()
    doubts: dict[int, str] = {}
    not_applied: list[int] = []
    for split in sorted(splits, reverse=True):
        step = _step_over(log, split.at)
        if step is None or abs(split.ratio) < _NO_SPLIT:
            continue
        ratio, size = math.exp(split.ratio), abs(split.ratio)
        # A day's move may reach a small ratio by itself.
        near = (0.45 if size >= _CLEAR else 0.25) * size
        if abs(step.move + split.ratio) < near:
            log[: step.at] -= split.ratio
            not_applied.append(split.at)
        elif abs(step.move - split.ratio) < near and size >= _CLEAR:
            if not surges(volume, step.at):
                doubts |= dict.fromkeys(
                    range(step.at + 1), f"the split of {ratio:g} is applied twice or inverted"
                )
        elif abs(step.move) >= near and size >= _CLEAR:
            doubts[step.at] = f"neither with nor without the split of {ratio:g}"
    return Undone(log, doubts, tuple(not_applied))


def _step_over(log: Numbers, at: int) -> Step | None:
    """The step that leads over the start of session `at`."""
    priced = np.flatnonzero(np.isfinite(log))
    place = int(np.searchsorted(priced, at))
    if not 0 < place < len(priced):
        return None
    before, after = int(priced[place - 1]), int(priced[place])
    return Step(before, after, float(log[after] - log[before]))


def finish_splits(log: Numbers, splits: Sequence[Split], volume: Numbers) -> Undone:
    """Mend jumps of a listed split's ratio beside its day: a day shifted, or some sessions only."""
    log = log.copy()
    doubts: dict[int, str] = {}
    moves = steps(log)
    usual = _usual_move(moves, 0) if moves else 0.0
    for step in reversed(moves):
        for split in splits:
            beside = 0 < abs(step.at - split.at) <= PARTLY
            near = _is_of(split, abs(step.move), max(_PARTLY_NEAR, min(2 * usual, 0.2)))
            if near and beside and not surges(volume, step.at):
                log[: step.at] += math.copysign(abs(split.ratio), step.move)
                first, last = sorted((step.at, split.at))
                text = f"the split of {math.exp(split.ratio):g} is applied to some sessions only"
                doubts |= dict.fromkeys(range(first, last + 1), text)
                break
    return Undone(log, doubts, ())


class SmallSplits(NamedTuple):
    """Both columns in shares of the last day, and the sessions whose return is in doubt."""

    close: Numbers
    adjusted: Numbers | None
    doubts: Doubts


def apply_small_splits(
    close: Numbers, adjusted: Numbers | None, splits: Sequence[Split]
) -> SmallSplits:
    """Apply splits that `apply_splits` cannot tell from a day's move: a stock dividend of 5 %.

    What returns are computed from lacks a split if its step is nearer to that of the split than to
    none; this is likely, not sure, so the session is in doubt. Adjusted close per close has no
    noise, and tells for sure if the close alone lacks it.
    """
    close = close.copy()
    adjusted = None if adjusted is None else adjusted.copy()
    doubts: dict[int, str] = {}
    for split in sorted(splits, reverse=True):
        returns = close if adjusted is None else adjusted
        step = _step_over(returns, split.at)
        if step is None or abs(split.ratio) >= _NO_SPLIT:
            continue
        between = None if adjusted is None else _step_over(adjusted - close, split.at)
        size = abs(split.ratio)
        close_alone = between is not None and abs(between.move - split.ratio) < 0.3 * size
        if lacking := abs(step.move + split.ratio) < abs(step.move):
            text = f"the prices before may not contain the split of {math.exp(split.ratio):g}"
            doubts[step.at] = text
            returns[: step.at] -= split.ratio
        if adjusted is not None and (lacking or close_alone):
            close[: step.at] -= split.ratio
    return SmallSplits(close, adjusted, doubts)


class Jumps(NamedTuple):
    """The moves that nothing undoes: those in doubt, and those that are kept."""

    doubts: Doubts
    kept: tuple[Step, ...]
    level_in_doubt: bool
    """Whether prices before such a move may be in another unit or in other shares."""


def lone_jumps(
    log: Numbers, volume: Numbers, splits: Sequence[Split], *, splits_known: bool
) -> Jumps:
    """Judge large moves after which the price stays where it is.

    A move up to tenfold is kept if the volume surges, or if it is not near the ratio of a split
    and splits are known; otherwise its session is in doubt. So is one within two sessions of the
    series' end or start, as nothing confirms it.
    """
    doubts: dict[int, str] = {}
    kept: list[Step] = []
    moves = steps(log)
    priced = [step.before for step in moves]
    least = 2 if splits_known and not has_volume(volume) else 1.5
    for number, step in enumerate(moves):
        if abs(step.move) < math.log(1.45) or step.at - step.before > 6:
            continue
        at_edge = number < 2 or number > len(moves) - 3
        real = surges(volume, step.at)
        ratio = near_ratio(step.move, least, max(_NEAR, min(2 * _usual_move(moves, 0), 0.1)))
        large_and_unlisted = not splits_known and abs(step.move) >= JUMP
        wrong = ratio or large_and_unlisted or (at_edge and abs(step.move) >= JUMP)
        if abs(step.move) > BOUND or (wrong and not real):
            text = f"a split or an error: {math.exp(step.move):.3g} times the session before"
            doubts[step.at] = text
            if number < 2:
                doubts |= dict.fromkeys(priced[: number + 1], text)
            if ratio and any(abs(abs(s.ratio) - math.log(ratio)) < _NEAR for s in splits):
                doubts |= dict.fromkeys(range(step.at), text)
        elif abs(step.move) >= JUMP:
            kept.append(step)
    return Jumps(doubts, tuple(kept), bool(doubts))


class Dividends(NamedTuple):
    """Prices and what the source lists as dividends."""

    listed: Numbers | None
    closes: Sequence[Numbers]
    """Closes in the units that a dividend may be in: as listed, and in today's shares."""


def ratio_doubts(close: Numbers, adjusted: Numbers, dividends: Dividends, noise: float) -> Doubts:
    """Sessions at which the adjusted close (log, as `close`) does not follow close and dividends.

    Per session the ratio of the two may rise by 1 / (1 - D/P), D being the dividend and P the close
    before, and by nothing else. `noise` is the rounding of prices as a fraction.
    """
    doubts: dict[int, str] = {}
    listed = dividends.listed
    is_filled = listed is not None and bool(np.nansum(listed > 0))
    for step in steps(adjusted - close):
        fall = float(close[step.before] - close[step.at])
        if listed is not None and is_filled:
            paid = float(np.nansum(listed[step.before + 1 : step.at + 1]))
            expected = [_yield(paid, float(prices[step.before])) for prices in dividends.closes]
            off = min(abs(step.move - value) - 0.1 * min(value, 1.0) for value in expected)
            if off > noise + 0.001:
                doubts[step.at] = (
                    f"the adjusted close moves {100 * step.move:+.2f} % against the close, "
                    f"dividends say {100 * expected[0]:+.2f} %"
                )
        elif step.move < -noise - 0.001:
            doubts[step.at] = f"the adjusted close falls {-100 * step.move:.2f} % against the close"
        elif step.move > 0.1 + noise and fall < step.move / 2:
            doubts[step.at] = f"the adjusted close rises {100 * step.move:.1f} % against the close"
    return doubts


def _yield(paid: float, price: float) -> float:
    """The rise of adjusted close per close by a dividend, in logarithms."""
    return -math.log1p(-paid / price) if 0 <= paid < price else math.inf


def unpaid_dividends(close: Numbers, listed: Numbers) -> Doubts:
    """Sessions without their dividend, in closes (log) that nobody has adjusted for dividends.

    The moves on the days of dividends, regressed on their yields, have a slope near -1 then and
    near 0 otherwise. If the dividends are too small to tell, nothing is doubted.
    """
    moves = steps(close)
    paid = [
        (step, _yield(float(np.nansum(listed[step.before + 1 : step.at + 1])), price))
        for step, price in zip(moves, np.exp([close[step.before] for step in moves]), strict=True)
    ]
    paid = [(step, size) for step, size in paid if 0 < size < math.inf]
    if not paid:
        return {}
    squares = sum(size**2 for _, size in paid)
    slope = sum(step.move * size for step, size in paid) / squares
    usual = float(np.median([_usual_move(moves, moves.index(step)) for step, _ in paid]))
    if slope > -0.5 or math.sqrt(squares) < _TELLING * usual:
        return {}
    text = "the closes are not adjusted for dividends, and there is no adjusted close"
    return {step.at: text for step, _ in paid}


def is_exchanged(close: Numbers, adjusted: Numbers, noise: float) -> bool:
    """Whether the two columns are exchanged: the "adjusted" one falls against the other, only."""
    moves = [step.move for step in steps(adjusted - close) if abs(step.move) > noise + 0.001]
    both = (adjusted - close)[np.isfinite(adjusted - close)]
    return bool(moves) and max(moves) < 0 and abs(both[-1]) <= noise + 0.001


def rounding(*series: Numbers) -> float:
    """The largest rounding of a ratio of these prices, as a fraction of it."""
    total = 0.0
    for values in series:
        values = values[np.isfinite(values)][:: max(1, len(values) // 300)]
        exact = [n for n in (2, 3, 4, 5, 6, 8) if _has_digits(values, n)]
        total += 0.5 * 10.0 ** -(exact or [12])[0] / float(np.quantile(values, 0.05))
    return 2 * total


def _has_digits(values: Numbers, digits: int) -> bool:
    return bool(np.all(np.abs(values - values.round(digits)) < 1e-9 * values))


def halts(close: Numbers, volume: Numbers) -> Iterator[tuple[int, str]]:
    """Sessions that repeat the price before them without a trade, or for very long."""
    tells = has_volume(volume)
    counts = np.nan_to_num(volume) if tells else np.zeros(len(close))
    moves = steps(close)
    flat: list[Step] = []
    for step in moves:
        if step.move != 0.0:
            flat = []
            continue
        flat.append(step)
        if tells and counts[step.at] == 0:
            yield step.at, "no trade: volume 0 and the price of the session before"
        elif len(flat) >= _STALE and len({counts[s.at] for s in flat}) == 1:
            for stale in flat:
                yield stale.at, f"the same price for {len(flat) + 1} sessions"
