"""An evaluation as the Hub stores it: `.eval_results/*.yaml`, and `model-index` of a card.

Each figure comes with its interval: alone it would say nothing about so few weeks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weekahead.schema.dataset_files import hub_id
from weekahead.schema.manifests import DatasetFacts, GenerationManifest
from weekahead.schema.metrics import Metrics
from weekahead.schema.verdicts import ReportedRun

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

RESULTS_FOLDER = ".eval_results"
_PREFIX = f"{RESULTS_FOLDER}/weekahead_"
_TASK = "text-generation"


@dataclass(frozen=True)
class Figure:
    """One metric of an evaluation, with its uncertainty."""

    key: str
    name: str
    value: float
    ci95: list[float] | None
    rows: int


@dataclass(frozen=True)
class Evaluated:
    """What the Hub is told of an evaluation."""

    figures: tuple[Figure, ...]
    weeks: int | None
    verdict: str
    dataset: DatasetFacts
    """Empty without a manifest."""
    created: str | None


def evaluated(
    metrics: Metrics, manifest: GenerationManifest | None, reported: ReportedRun | None = None
) -> Evaluated:
    """The figures of an evaluation that could be computed."""
    skill = metrics["skill"]
    with_truth = metrics["n"] - metrics["n_no_truth"]
    interval = metrics["bin_acc_ci95"]
    known = [
        ("direction_accuracy", "direction accuracy", metrics["bin_acc"], interval, with_truth),
        ("excess_accuracy", "skill", skill["excess_accuracy"], skill["ci95"], skill["n"] or 0),
        ("mse", "mean squared error, sizes capped at 5.5", metrics["mse"], None, metrics["mse_n"]),
    ]
    return Evaluated(
        figures=tuple(
            Figure(key, name, value, ci95, rows or 0)
            for key, name, value, ci95, rows in known
            if value is not None
        ),
        weeks=metrics["weeks"],
        verdict=reported["verdict"] if reported else metrics["verdict"],
        dataset=manifest["dataset"] if manifest else {},
        created=(manifest["created"] if manifest else None) or None,
    )


def notes(evaluation: Evaluated, figure: Figure) -> str:
    """A figure's interval, rows, weeks and verdict, as one line."""
    interval = f"95 % interval {interval_text(figure.ci95)}, " if figure.ci95 else ""
    weeks = f" in {evaluation.weeks} weeks" if evaluation.weeks else ""
    return f"{interval}{figure.rows} rows{weeks}; {evaluation.verdict}"


def entries(evaluation: Evaluated) -> "list[EvalResultEntry]":
    """The entries of `.eval_results/*.yaml`; none if the rows are on no Hub.

    Source of the format: https://huggingface.co/docs/hub/eval-results.
    """
    from huggingface_hub import EvalResultEntry

    source = hub_id(evaluation.dataset.get("source") or "")
    if source is None:
        return []
    return [
        EvalResultEntry(
            dataset_id=source.name,
            task_id=figure.key,
            value=figure.value,
            dataset_revision=evaluation.dataset.get("revision"),
            date=evaluation.created,
            notes=notes(evaluation, figure),
        )
        for figure in evaluation.figures
    ]


def results_files(evaluation: Evaluated) -> dict[str, bytes]:
    """Path in the repository -> content: one file per dataset; nothing if the rows are on no Hub.

    What is written is read back by the client's class. Raises ValueError if that does not give the
    same.
    """
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml, parse_eval_result_entries

    stated = entries(evaluation)
    if not stated:
        return {}
    text = yaml.safe_dump(eval_result_entries_to_yaml(stated), sort_keys=False, allow_unicode=True)
    if parse_eval_result_entries(yaml.safe_load(text)) != stated:
        raise ValueError(f"the results of {stated[0].dataset_id} do not read back from YAML")
    return {f"{_PREFIX}{stated[0].dataset_id.replace('/', '__')}.yaml": text.encode()}


def is_results_file(path: str) -> bool:
    """Whether `results_files` writes a file of this name."""
    return path.startswith(_PREFIX) and path.endswith(".yaml")


def model_index_results(evaluation: Evaluated) -> "list[EvalResult]":
    """The results for the `model-index` of a card; the name of each metric holds its interval."""
    from huggingface_hub import EvalResult

    source = evaluation.dataset.get("source") or "test rows"
    source_id = hub_id(source)
    return [
        EvalResult(
            task_type=_TASK,
            task_name="weekly stock forecast",
            dataset_type=source_id.name if source_id else "weekahead",
            dataset_name=source_id.name if source_id else source.rstrip("/").rpartition("/")[2],
            dataset_split=evaluation.dataset.get("split"),
            dataset_revision=evaluation.dataset.get("revision"),
            metric_type="accuracy" if figure.key == "direction_accuracy" else figure.key,
            metric_name=f"{figure.name} ({notes(evaluation, figure)})",
            metric_value=figure.value,
            metric_args={"ci95": figure.ci95, "rows": figure.rows, "weeks": evaluation.weeks},
        )
        for figure in evaluation.figures
    ]


def interval_text(bounds: Sequence[float] | None) -> str:
    """An interval such as "-0.100 to 0.050"; null is "not computable (too few weeks)"."""
    if bounds is None:
        return "not computable (too few weeks)"
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"
