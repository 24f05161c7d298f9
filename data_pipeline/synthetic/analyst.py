"""The scripted analyst of the fictional market; it is told the bin, as a teacher is."""

from data_pipeline.synthetic.world import FictionalStory
from weekahead.task.answer import render_answer
from weekahead.task.labels import direction_of

NOTHING = "Nothing of note."


def answer(story: FictionalStory) -> str:
    """The reference answer to one story: its news by heading, and an argument for the true bin.

    Raises ValueError if the story has no label.
    """
    label = story.record.label
    if label is None:
        raise ValueError(
            f"{story.record.id} has no weekly return, so the analyst cannot be told its bin"
        )
    good = [headline.text for headline in story.news if headline.sign > 0]
    bad = [headline.text for headline in story.news if headline.sign < 0]
    analysis = _analysis(story.balance, direction_of(label))
    return render_answer(good or [NOTHING], bad or [NOTHING], label, analysis)


def _analysis(balance: int, direction: int) -> str:
    news, move = ("Good", "rise") if balance > 0 else ("Bad", "fall")
    if (balance > 0) == (direction > 0):
        return f"{news} news prevails, so the shares should {move}."
    other = "rise" if direction > 0 else "fall"
    return f"{news} news prevails, but the price reflects it already, so the shares should {other}."
