"""Several seeds of one recipe as one entry: what belongs together, its mean and its spread."""

import copy

import pytest

from eval.metrics.baselines import versus_entry
from eval.metrics.seeds import mean_hits, recipe_key, seed_groups, seed_summary
from weekahead.schema.manifests import generation_manifest

STORED = {
    "base": {"name": "lab/base", "revision": "abc"},
    "dataset": {"sha256": "t" * 64, "split": "test", "rows": 300},
    "generation": {"max_new_tokens": 512, "seed": 0},
    "precision": {"mode": "bf16"},
    "train": {
        "run": "one", "run_id": "r1", "created": "2024-01-01", "base": {"name": "lab/base"},
        "dataset": {"sha256": "d" * 64}, "result": {"train_loss": 1.0},
        "settings": {"learning_rate": 5e-5, "seed": 42},
    },
}  # fmt: skip


def manifest(**changes):
    """The manifest with values set by path, `train__settings__seed=1`."""
    stored = copy.deepcopy(STORED)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = stored
        for name in parents:
            target = target[name]
        target[last] = value
    return generation_manifest(stored)


MANIFEST = manifest()


def test_runs_that_differ_only_in_the_seed_are_one_group():
    runs = {
        "first": MANIFEST,
        "second": manifest(
            train__settings__seed=1, train__run="two", train__result={"train_loss": 0.9}
        ),
        "faster": manifest(train__settings__learning_rate=1e-4, train__settings__seed=2),
        "third": manifest(train__settings__seed=3),
    }
    assert seed_groups(runs) == [["first", "second", "third"], ["faster"]]


@pytest.mark.parametrize(
    "change",
    [
        {"train__dataset__sha256": "e" * 64},
        {"train__base__name": "lab/other"},
        {"dataset__sha256": "u" * 64},
        {"generation__max_new_tokens": 100},
        {"precision__mode": "fp32"},
    ],
)
def test_any_other_difference_is_another_recipe(change):
    assert recipe_key(manifest(**change)) != recipe_key(MANIFEST)


def test_the_base_and_a_seed_scored_twice_stand_alone():
    base = {**MANIFEST, "train": None}
    again = manifest(train__run="copy")
    assert recipe_key(base) is None
    groups = seed_groups({"a": MANIFEST, "b": base, "c": base, "again": again})
    assert groups == [["a"], ["b"], ["c"], ["again"]]


def test_summary_by_hand():
    weeks = {f"r{i}": f"w{i % 6}" for i in range(12)}
    first = {key: index < 6 for index, key in enumerate(weeks)}  # 6 of 12
    second = {key: index < 9 for index, key in enumerate(weeks)}  # 9 of 12
    summary = seed_summary([first, second], weeks)
    assert (summary.n_seeds, summary.n, summary.bin_acc) == (2, 12, 0.625)
    assert summary.bin_acc_by_seed == [0.5, 0.75]
    assert summary.seed_sd == pytest.approx(0.25 / 2**0.5)
    assert summary.bin_acc_ci95[0] < 0.625 < summary.bin_acc_ci95[1]
    assert summary.reason is None


def test_paired_tests_take_each_rows_mean_over_seeds():
    weeks = [f"w{i // 3}" for i in range(18)]
    hits = [{f"r{i}": i % 3 != seed for i in range(18)} for seed in range(2)]
    ours = list(mean_hits(hits).values())
    assert ours == [0.5, 0.5, 1.0] * 6
    comparison = versus_entry(ours, [0.5, 0.5, 0.5] * 6, weeks)
    assert comparison["difference"] == pytest.approx(1 / 6)


def test_one_seed_has_no_spread_and_says_so():
    summary = seed_summary([{"a": True, "b": False}], None)
    assert (summary.n_seeds, summary.bin_acc) == (1, 0.5)
    assert summary.seed_sd is summary.bin_acc_ci95 is None
    assert (
        summary.reason == "1 seed; a spread needs at least 2; 0 weeks; an interval needs at least 6"
    )


def test_seeds_on_different_rows_are_refused():
    with pytest.raises(
        ValueError,
        match="seed 2 of 2 was scored on other rows: 2 are in only one of the two, such as b",
    ):
        mean_hits([{"a": True, "b": True}, {"a": True, "c": True}])
    with pytest.raises(ValueError, match="no seed"):
        mean_hits([])
