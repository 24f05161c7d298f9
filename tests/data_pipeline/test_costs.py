"""Prices, estimates and the budget."""

import asyncio

import pytest

from data_pipeline.teacher import costs
from data_pipeline.teacher.costs import Budget, Price, cost_bound, estimate_tokens, read_price

PRICE = Price(2.0, 8.0, "2031-01-01")


def test_a_price_is_dollars_per_million_tokens():
    assert PRICE.cost(1_000_000, 500_000) == 6.0
    assert PRICE.cost(1500, 400) == pytest.approx(0.0062)


def test_every_line_of_the_table_is_a_dated_price():
    import yaml

    table = yaml.safe_load(costs.PRICES.read_text(encoding="utf-8"))
    assert table
    for model in table:
        price = read_price(model)
        assert price and 0 < price.input < price.output and len(price.as_of) == 10


def test_a_model_that_is_not_in_the_table_has_no_price(tmp_path):
    assert read_price("a-model-of-ours") is None
    (tmp_path / "empty.yaml").write_text("")
    assert read_price("gpt-4.1", tmp_path / "empty.yaml") is None


@pytest.mark.parametrize(
    "line",
    [
        "m: 3",
        "m: {input: 1}",
        "m: {input: a, output: 1, as_of: x}",
        "m: {input: -1, output: 1, as_of: x}",
        "[m",
        "- m",
        "m: {input: .nan, output: 1, as_of: x}",
    ],
)
def test_a_line_that_is_no_price_is_named(tmp_path, line):
    path = tmp_path / "prices.yaml"
    path.write_text(line)
    with pytest.raises(ValueError, match=r"prices\.yaml: "):
        read_price("m", path)


def test_tokens_are_estimated_by_characters_and_bounded_by_bytes():
    """Four characters per token for the estimate; for the bound two, or a byte if not ASCII."""
    messages = [{"role": "system", "content": "é" * 6}, {"role": "user", "content": "abcd"}]
    assert estimate_tokens(messages) == 3
    assert cost_bound(PRICE, messages, 100) == pytest.approx(PRICE.cost(14, 100))


def test_a_budget_keeps_room_for_what_is_on_its_way():
    async def spend():
        budget = Budget(1.0)
        assert await budget.reserve(0.6)
        waiting = asyncio.create_task(budget.reserve(0.6))
        await asyncio.sleep(0)
        assert not waiting.done()
        await budget.settle(0.6, cost=0.1)  # cheaper than feared
        assert await waiting
        await budget.settle(0.6, cost=0.6)
        assert budget.spent == pytest.approx(0.7)
        assert not await budget.reserve(0.31)
        assert await budget.reserve(0.29)

    asyncio.run(spend())


def test_a_request_that_came_to_nothing_gives_its_room_back():
    async def spend():
        budget = Budget(1.0)
        for _ in range(3):
            assert await budget.reserve(0.9)
            await budget.settle(0.9, cost=0.0)
        assert budget.spent == 0

    asyncio.run(spend())


def test_no_limit_never_refuses():
    assert asyncio.run(Budget().reserve(1e9))
