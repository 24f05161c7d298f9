"""The vocabulary of the prediction reader: what each word and phrase is to the grammar.

A word that is in no table here is unknown, and an unknown word never becomes a direction or a size.
"""

from weekahead.task.prediction_kinds import Kind


def _phrases(text: str) -> list[str]:
    """The phrases of a table: words by white space, phrases of several words joined by "_"."""
    return [word.replace("_", " ") for word in text.split()]


_MOVES = {
    1: """
    rise rises rising increase increases increasing gain gains gaining climb climbs climbing
    rebound rebounds rebounding bounce bounces bouncing rally rallies rallying recover recovers
    recovering recovery appreciate appreciates appreciating appreciation surge surges surging
    soar soars soaring jump jumps jumping advance advances advancing strengthen strengthens
    strengthening grow grows growing uptrend up-trend uptrending up-trending uptick up-tick
    upticks upswing up-swing upturn gain_ground gains_ground positive_trend positive_movement
    positive_return positive_returns bounce_back bounces_back price_growth stock_growth
    stock_price_growth share_price_growth growth_in_the_stock_price growth_in_the_share_price
    growth_in_stock_price growth_in_share_price
    """,
    -1: """
    fall falls falling drop drops dropping decline declines declining decrease decreases
    decreasing slip slips slipping slide slides sliding dip dips dipping sink sinks sinking
    slump slumps slumping lose loses losing loss losses tumble tumbles tumbling plunge plunges
    plunging plummet plummets plummeting retreat retreats retreating pullback pullbacks pull-
    back pull-backs pull_back pulls_back depreciate depreciates depreciating depreciation weaken
    weakens weakening soften softens softening ease eases easing downtrend down-trend
    downtrending down-trending downtick down-tick downticks downswing down-swing downturn
    downturns lose_ground loses_ground negative_trend negative_movement negative_return
    negative_returns fall_back falls_back
    """,
    0: """
    flat neutral sideways unchanged range-bound rangebound stable steady stabilize stabilizes
    stabilizing stabilise stabilises stabilising stabilization stabilisation consolidate
    consolidates consolidating consolidation no_change no_significant_change no_major_change
    no_material_change little_change little_changed no_price_change no_movement
    no_significant_movement little_movement no_move hold_steady remain_flat
    """,
}
_PARTICLES = {
    1: "up upward upwards higher bullish ↑ ⬆ ↗ ⇧ ▲ 🔼 📈",
    -1: "down downward downwards lower bearish ↓ ⬇ ↘ ⇩ ▼ 🔽 📉",
}
_KINDS = {
    Kind.SHIFT: """
    be is are go goes going move moves moving trend trends trending edge edges edging inch
    inches inching tick ticks ticking drift drifts drifting trade trades trading head heads
    heading close closes closing end ends ending finish finishes finishing creep creeps creeping
    come comes nudge nudges settle settles stay stays remain remains turn_sharply
    end_the_week ends_the_week ending_the_week end_the_trading_week end_the_session
    ends_the_session
    """,
    Kind.EXPECT: """
    expected expects expect expecting predicted predict predicts prediction projected project
    projects projection anticipated anticipate anticipates forecast forecasted forecasts
    estimated seen likely poised set_to set_for on_track_to on_track_for on_course_to
    on_course_for about_to due_to_rise direction outlook verdict conclusion answer call result
    bound_to prone_to most_likely final_answer final_prediction final_forecast final_call
    i_'d_say we_'d_say i_would_say we_would_say we i you our my this_is believe think overall
    in_summary in_conclusion in_short summary therefore thus hence so accordingly consequently
    """,
    Kind.MODAL: """
    will would should may might could can to 'll experience experiences experiencing see sees
    seeing show shows showing exhibit exhibits display displays demonstrate demonstrates undergo
    undergoes witness post posts record register have has make makes face faces facing continue
    continues continuing keep keeps begin begins start starts maintain maintains resume resumes
    extend extends enjoy suffer suffers stage stages look looks appear appears seem seems being
    looking_at looking_for there reach reaches reaching ranging range_bound_around in_for
    reflect reflects
    """,
    Kind.MAYBE: """
    potential_for potential_of possibility_of possibility_for risk_of risks_of chance_of
    chances_of chance_for room_for room_to likelihood_of probability_of odds_of threat_of
    scope_for danger_of prospect_of hope_of hopes_of fear_of fears_of
    """,
    Kind.NEGATION: """
    no neither nor without avoid avoids avoiding halt halts halting stop stops stopping reverse
    reverses reversing reversal instead_of rather_than fail fails failing failed lack lacks
    refuse refuses cease ceases anything_but end_its end_the snap_its break_its
    """,
    Kind.DENIAL: """
    not never cannot hardly barely scarcely unlikely improbable doubtful questionable n't
    off_the_table ruled_out out_of_the_question impossible no_longer wrong untrue false
    """,
    Kind.MIXED: """
    mixed_performance mixed_movement mixed_trend mixed_picture mixed_trading mixed_outlook mixed
    """,
    Kind.STOCK: """
    stock stocks share shares price prices stock_price share_price it they ticker stock_value
    share_value equity
    """,
    Kind.FILLER: """
    a an the its this that his her their these those any some slight slightly moderate
    moderately modest modestly minor small smaller mild mildly marginal marginally gradual
    gradually gentle gently cautious cautiously significant significantly strong strongly sharp
    sharply steep substantial substantially notable notably solid considerable large larger big
    huge further additional continued sustained potential potentially possible possibly probable
    probably short-term near-term short near long term overall net initial weekly total more bit
    points dollars cents now correction adjustment few couple somewhat very quite rather
    temporary brief only just also again still even then_again momentum pressure trajectory bias
    movement move moves trend trends performance action growth_trend next week weeks coming
    upcoming current month months day days today tomorrow session sessions period early late mid
    soon shortly end beginning start_of horizon monday tuesday wednesday thursday friday january
    february march april june july august september october november december jan feb mar apr
    jun jul aug sep sept oct nov dec following_week following_days following_five within_a_week
    projected_to level levels inc corp co ltd plc llc company_stock value ahead forward medium
    week-long one-week 1-week trading_week trading_day trading_days trading_session calendar
    average corrected_: correction_: revised_: revision_: edit_: edited_: typo_: oops sorry
    i_mean i_meant make_that scratch_that changed_my_mind changed_to corrected_to revised_to
    """,
    Kind.LABEL: """
    magnitude size range change expected_change price_change percentage_change expected_move
    expected_range expected_return expected_movement percentage percent_change return
    predicted_change predicted_move predicted_range estimated_change amount extent
    """,
    Kind.ODDS: """
    high_confidence low_confidence medium_confidence moderate_confidence strong_confidence
    confidence confident probability likelihood odds chance chances certainty certain sure
    conviction confidence_level confidence_score score rating risk risks volatility volatile
    fluctuation fluctuations uncertainty accuracy possibility upside downside
    """,
    Kind.FOREIGN: """
    stop_loss stop-loss take_profit take-profit drawdown revenue revenues sales sale growth
    earnings eps margin margins profit profits profitability income ebitda ebit fcf roe roa roi
    roic cagr cash cashflow capex opex cost costs expense expenses spending demand supply yield
    yields dividend dividends payout buyback buybacks rate rates inflation cpi ppi gdp interest
    debt leverage liquidity competition rivals rival peers peer competitor competitors sector
    sectors market markets index indices industry economy s&p nasdaq dow russell ftse dax vix
    oil crude gas gold commodity commodities dollar currency fx volume volumes target targets
    valuation multiple multiples ratio ratios p/e pe guidance estimate estimates consensus
    orders backlog bookings subscribers users customers deliveries shipments units production
    output inventory inventories capacity headcount tariffs tariff taxes tax wages salaries
    sentiment confidence_in scrutiny tension tensions concern concerns caution holdings stake
    stakes ownership spread spreads bond bonds treasury treasuries unemployment jobs weight
    business segment division portfolio loans deposits premiums claims exposure short_interest
    beta rsi macd traffic bps pp arr arpu aum gmv nii nim dau mau churn turnover rank ranking
    percentile quarter quarterly quarters q1 q2 q3 q4 yoy qoq
    """,
    Kind.PAST: """
    rose fell gained climbed dropped declined increased decreased slipped slid dipped sank
    slumped lost tumbled plunged plummeted retreated rebounded bounced rallied recovered
    appreciated depreciated surged soared jumped advanced strengthened weakened softened eased
    grew risen fallen grown sunk was were had did been went came moved edged ticked closed ended
    finished traded recent recently past prior previous previously earlier already yesterday
    last year-to-date ytd year_to_date so_far since_then historically ago year-over-year week-
    over-week this_year this_quarter this_month year_over_year year_on_year
    """,
    Kind.ASIDE: """
    now_that due_to owing_to because thanks_to despite in_spite_of amid amidst after following
    given giving_that considering reflecting depending_on depends_on depend_on if unless while
    whereas although though as since when whenever once assuming provided driven_by supported_by
    influenced_by fueled_by fuelled_by led_by backed_by boosted_by tempered_by aided_by
    helped_by weighed_down_by dragged_down_by pressured_by hurt_by on_the_back_of based_on on
    in_line_with compared_to compared_with relative_to versus vs than which who whose where
    even_as even_if even_though in_view_of in_light_of helped_along_by underpinned_by
    propelled_by hindered_by offset_by as_well_as along_with together_with in_response_to per
    according_to for_example e.g i.e such_as including whether how why what until via
    through_its
    """,
    Kind.JOIN: "and or then to_then & / followed_by before else otherwise plus",
    Kind.BUT: "but however yet nevertheless nonetheless conversely",
    Kind.INTO: """
    in for with w at near against toward towards into from over during throughout through within
    across beyond out off under above below past_the out_of
    """,
    Kind.ABOUT: """
    by of around about approximately approx roughly nearly almost close_to circa ca some_kind_of
    in_the_range_of in_the_region_of in_the_order_of in_the_vicinity_of in_a_range_of
    within_a_range_of within_the_range_of in_the_neighborhood_of in_the_area_of ~ to_around
    to_about at_around at_about an_estimated a_total_of to_the_tune_of_
    """,
    Kind.MOST: """
    less_than under below up_to at_most no_more_than not_more_than as_much_as a_maximum_of
    fewer_than < ≤ <=
    """,
    Kind.LEAST: """
    more_than over above at_least greater_than exceeding exceeds in_excess_of north_of
    upwards_of a_minimum_of no_less_than not_less_than > ≥ >=
    """,
    Kind.BETWEEN: "between between_about between_around ranging_between ranging_from",
    Kind.UNIT: """
    % percent pct percents per_cent percentage_point percentage_points percentage-points
    """,
}  # fmt: skip
_IDIOMS = {
    Kind.UNKNOWN: """
    gain_share gains_share gaining_share lose_share loses_share losing_share come_down_to
    comes_down_to up_front up_and_running up_and_coming up_from down_from up_against up_until
    down_the_line down_the_road down_payment fall_within falls_within falling_within
    fall_in_the_range fall_into fall_under fall_short falls_short fall_behind falls_behind
    gain_traction gaining_traction gain_momentum gaining_momentum gains_momentum loses_steam
    loses_momentum lost_steam lose_momentum losing_momentum lose_steam losing_steam
    gain_confidence gain_clarity gain_access give_rise gives_rise giving_rise go_up_against
    come_up come_up_with make_up makes_up end_up ends_up close_down closes_down closing_down
    shut_down head_up heads_up
    """,
}


def _vocabulary() -> dict[str, tuple[Kind, int]]:
    """Word or phrase -> (kind, direction); the direction is 0 if the kind has none."""
    entries: dict[str, tuple[Kind, int]] = {}
    for kind, text in _KINDS.items():
        entries.update(dict.fromkeys(_phrases(text), (kind, 0)))
    for kind, table in ((Kind.MOVE, _MOVES), (Kind.PARTICLE, _PARTICLES)):
        for direction, text in table.items():
            entries.update(dict.fromkeys(_phrases(text), (kind, direction)))
    for kind, text in _IDIOMS.items():
        entries.update(dict.fromkeys(_phrases(text), (kind, 0)))
    return entries


VOCABULARY = _vocabulary()
LONGEST_PHRASE: dict[str, int] = {}
"""First word -> how many words the longest phrase has that begins with it."""
for _words in map(str.split, VOCABULARY):
    LONGEST_PHRASE[_words[0]] = max(len(_words), LONGEST_PHRASE.get(_words[0], 0))
NOT_ADVERBS = frozenset(
    _phrases(
        "supply rally family apply reply imply rely assembly monopoly italy fly ply multiply comply"
    )
)
"""Words in "ly" that are no adverbs."""
NUMBER_WORDS = {
    "zero": 0.0, "half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0,
    "six": 6.0, "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "one-half": 0.5,
}  # fmt: skip
ABBREVIATIONS = frozenset(
    _phrases("inc corp co ltd approx vs u.s mr dr pct jan feb mar apr aug sep sept oct nov dec")
)
