"""What a `make` target was told, checked in a fraction of a second, before torch is imported.

    python -m weekahead.preflight train --model llama --dataset data/datasets/mine --run llama-1 \\
        --accel single_gpu -- --learning_rate 1e-4

Called by the Makefile. Files, columns, folders, flags and the size of the model against the machine
are looked at with the standard library and PyYAML alone; the commands check all of it again.
`--print` checks nothing and prints what the target uses, quoted for the shell.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from weekahead.cli import EXPECTED_ERRORS, new_parser, run_command
from weekahead.deepspeed_package import check_deepspeed_installed
from weekahead.hardware.settings import training_settings
from weekahead.machine import check_free_memory, check_model_fits, gpu_memory
from weekahead.names import check_name
from weekahead.recipe import Recipe, read_recipe, read_yaml
from weekahead.schema.dataset_files import hub_id
from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.flags import GENERATION_FLAGS, TRAINING_FLAGS
from weekahead.schema.manifests import (
    TrainingManifest,
    read_training_manifest,
)
from weekahead.told_files import (
    check_base_folder,
    check_dataset,
    check_folder,
    check_output,
    close_match,
    named_file,
    names_in,
)
from weekahead.told_flags import Flags, check_fields, misspelt_variable, read_flags

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_OF_THE_TARGET = {"config": "MODEL", "adapter": "ADAPTER", "dataset": "DATASET", "out": "RUN"}
"""Flag of eval.generate -> the variable that gives it to eval.likelihood as well."""

_DEMO = "outputs/demo"
_DEMO_BYTES = int(4.5 * 2**30)
"""The demo's training was measured at 3.9 GiB, its launcher at 0.2."""
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
_OPERATOR = re.compile(r"[;|&<>()`]|(?:^|\s)#")
"""What ends a command for a shell, or begins a comment."""


@dataclass(frozen=True)
class Told:
    """The variables of a target. `explicit` names those that the user gave."""

    model: str = ""
    dataset: str = ""
    run: str = ""
    accel: str = ""
    gpus: str = ""
    adapter: str = ""
    runs: str = ""
    report: str = ""
    explicit: frozenset[str] = frozenset()
    known: tuple[str, ...] = ()
    """The variables that there are."""
    arguments: tuple[str, ...] = ()
    """The words of ARGS."""


@dataclass(frozen=True)
class Evaluation:
    """What `make eval` evaluates with, and what the user should hear about it."""

    recipe: Path
    dataset: str
    notes: tuple[str, ...]


def check_train(told: Told) -> None:
    """Check everything that `make train` names.

    Raises ValueError or OSError naming the value, what was expected and the remedy.
    """
    recipe = _recipe(told.model)
    check_name("RUN", told.run)
    flags = read_flags(told.arguments, TRAINING_FLAGS, "sft.train")
    if "config" in flags:
        raise ValueError("--config stands in ARGS; name the recipe with MODEL=")
    check_fields(recipe)
    _check_one_meaning(told, flags, recipe)
    launch = _launch_of(told.accel)
    check_dataset(flags.get("dataset") or told.dataset, "train")
    check_output(Path(flags.get("output_dir") or f"outputs/{told.run}"))
    fields: Recipe = read_recipe(recipe)
    model = flags.get("model_name_or_path") or fields.get("model_name_or_path") or ""
    check_base_folder(model)
    on_cpu = launch.get("use_cpu") is True
    check_model_fits(model, in_4bit=bool(fields.get("load_in_4bit")), on_cpu=on_cpu)
    _check_gpus(told, launch)
    if "ACCEL" in told.explicit and not on_cpu and not gpu_memory():
        note = f"NOTE: ACCEL={told.accel}, but this machine shows no GPU: training on the CPU"
        print(f"train: {note}", file=sys.stderr)


def _launch_of(accel: str) -> Mapping[str, object]:
    """The lines of an accelerate config.

    Raises ValueError with the command that installs what it needs and is missing.
    """
    path = _accelerate_config(accel)
    config: object = read_yaml(path, "take the file from the repository again")
    launch = cast("dict[str, object]", config) if isinstance(config, dict) else {}
    if launch.get("distributed_type") == "DEEPSPEED":
        check_deepspeed_installed(f"ACCEL={accel}")
    return launch


def _check_gpus(told: Told, accelerate: Mapping[str, object]) -> None:
    """Check that the launch can have as many processes as GPUS says, and share the rows of a step.

    Raises ValueError naming what does not fit.
    """
    if accelerate.get("num_machines", 1) != 1:
        raise ValueError(
            f"ACCEL={told.accel} is for several machines, and make starts the processes of one; "
            'docs/training.md, "Several machines", has the command'
        )
    if not told.gpus:
        return
    if not told.gpus.isdigit() or int(told.gpus) < 1:
        raise ValueError(f"GPUS is {told.gpus!r}; expected a number of GPUs, such as 4")
    count = int(told.gpus)
    if count > 1 and accelerate.get("distributed_type") == "NO":
        raise ValueError(
            f"GPUS={count}, but accelerate_configs/{told.accel}.yaml is for one process; take "
            "ACCEL=ddp"
        )
    here = len(gpu_memory())
    if count > 1 and here < count:
        shown = f"{here} GPU{'s' if here > 1 else ''}" if here else "no GPU"
        raise ValueError(
            f"GPUS={count}, and this machine shows {shown}; leave GPUS out or lower it"
        )
    _accumulation(told)


def _accumulation(told: Told) -> int | None:
    """What each process of several accumulates, so that the rows of a step stay; None if ARGS says
    it. Raises ValueError if the processes cannot share it."""
    flags = read_flags(told.arguments, TRAINING_FLAGS, "sft.train")
    if not told.gpus or "gradient_accumulation_steps" in flags:
        return None
    recipe: Mapping[str, object] = read_recipe(_recipe(told.model))
    return training_settings(recipe, flags, int(told.gpus)).accumulation


def _train_arguments(told: Told) -> str:
    """The flag that GPUS adds to a training."""
    try:
        steps = _accumulation(told)
    except EXPECTED_ERRORS:
        return ""  # the check says why
    return "" if steps is None else f"--gradient_accumulation_steps {steps}"


def _check_one_meaning(told: Told, flags: Flags, recipe: Path) -> None:
    """Check that dataset and folder are said once: by a variable, in ARGS or in the recipe.

    A flag of ARGS wins over the variable's default, and the variable, which `make` always gives,
    over the recipe.
    """
    fields: Mapping[str, object] = read_recipe(recipe)
    given = {"dataset": ("DATASET", told.dataset), "output_dir": ("RUN", f"outputs/{told.run}")}
    for name, (variable, value) in given.items():
        explicit, flag, field = variable in told.explicit, flags.get(name), fields.get(name)
        if explicit and flag is not None and Path(flag) != Path(value):
            raise ValueError(
                f"{variable} says {value} and ARGS says --{name} {flag}; give one of them"
            )
        if not explicit and flag is None and field and Path(str(field)) != Path(value):
            raise ValueError(
                f"{recipe}: {name} is {field}, and make gives {value} instead; take it out of the "
                f"recipe, and give {variable}="
            )


def check_eval(told: Told) -> Evaluation:
    """Check everything that `make eval` names; recipe and dataset are the run's, if not given.

    Raises as `check_train` does.
    """
    check_name("RUN", told.run)
    flags = read_flags(told.arguments, GENERATION_FLAGS, "eval.generate")
    for name, variable in _OF_THE_TARGET.items():
        if name in flags:
            raise ValueError(
                f"--{name} stands in ARGS, where eval.likelihood would not get it; give {variable}="
            )
    manifest = _adapter_manifest(told)
    chosen = _evaluation(told, manifest)
    check_dataset(chosen.dataset, flags.get("split") or "test")
    check_folder(Path("results") / told.run)
    fields = read_recipe(chosen.recipe)
    if flags.get("backend") != "endpoint":
        model = fields.get("model_name_or_path") or ""
        check_model_fits(model, in_4bit=bool(fields.get("load_in_4bit")), on_cpu=False)
    return chosen


def check_compare(told: Told) -> None:
    """Check everything that `make compare` names. Raises as `check_train` does."""
    check_name("REPORT", told.report)
    for folder in _compared_folders(told):
        if not (folder / METRICS).is_file():
            near = close_match(folder.name, names_in(folder.parent))
            raise FileNotFoundError(
                f"{folder / METRICS} is not there{near}; make it first: "
                f"make eval RUN={shlex.quote(folder.name)}"
            )


def _compared_folders(told: Told) -> list[Path]:
    """The folders of RUNS, a list of names as a shell reads it."""
    try:
        runs = shlex.split(told.runs)
    except ValueError as error:
        raise ValueError(f"RUNS is {told.runs!r} ({error}); expected RUNS='a b'") from None
    if not runs:
        raise ValueError("RUNS is empty; expected names of runs: RUNS='a b'")
    return [Path("results") / check_name("RUNS", run) for run in runs]


def _recipe(model: str) -> Path:
    return named_file("MODEL", model, Path("recipes"))


def _accelerate_config(name: str) -> Path:
    return named_file("ACCEL", name, Path("accelerate_configs"))


def _adapter_manifest(told: Told) -> TrainingManifest | None:
    """The manifest of the adapter; None for the base, one on the Hub, and one without manifest."""
    adapter, folder = told.adapter, Path(told.adapter)
    if not adapter.strip():
        raise ValueError(
            f"ADAPTER is {adapter!r}; expected outputs/<run>, user/name[@revision] or none (the "
            "base alone)"
        )
    if adapter == "none":
        return None
    if folder.is_dir():
        missing = [name for name in _ADAPTER_FILES if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"{adapter} is not a complete adapter: {', '.join(missing)} missing; finish its "
                "training (the same `make train` goes on from the last checkpoint) or name another"
            )
        path = folder / MANIFEST
        return read_training_manifest(path) if path.exists() else None
    if hub_id(adapter) is None or folder.is_file():
        raise ValueError(_no_adapter(adapter))
    return None


def _no_adapter(adapter: str) -> str:
    name = Path(adapter).name
    runs = [path.parent.name for path in Path("outputs").glob("*/adapter_config.json")]
    if name in runs:
        near = f"; did you mean ADAPTER=outputs/{name}?"
    else:
        near = close_match(name, [*runs, "none"])
    return (
        f"no adapter at {adapter}{near}; expected outputs/<run>, user/name[@revision] or none "
        f"(the base alone); train it first: make train RUN={shlex.quote(name)}"
    )


def _evaluation(told: Told, manifest: TrainingManifest | None) -> Evaluation:
    """What is evaluated: what was given, else what the adapter's manifest names."""
    recipe, dataset = _recipe_of(told, manifest), told.dataset
    notes: list[str] = []
    trained_on = _dataset_of(manifest)
    if manifest and "MODEL" in told.explicit:
        own = _recorded_recipe(manifest)
        if own and own != recipe:
            notes.append(f"NOTE: MODEL={told.model}, but {told.adapter} was trained with {own}")
    if trained_on and "DATASET" not in told.explicit:
        dataset = trained_on
        _check_still_there(dataset, told.adapter)
    elif trained_on and not _same_source(dataset, trained_on):
        notes.append(f"NOTE: DATASET={dataset}, but {told.adapter} was trained on {trained_on}")
    where = f" (as {told.adapter}/{MANIFEST} says)" if manifest and not notes else ""
    return Evaluation(recipe, dataset, (*notes, f"{recipe} on {dataset}{where}"))


def _recipe_of(told: Told, manifest: TrainingManifest | None) -> Path:
    if manifest is None or "MODEL" in told.explicit:
        return _recipe(told.model)
    recipe = _recorded_recipe(manifest)
    if recipe is None:
        raise ValueError(
            f"{told.adapter}/{MANIFEST} names no recipe that is here, and none in recipes/ has its "
            f"base, {manifest['base'].get('name')}; give MODEL="
        )
    return recipe


def _recorded_recipe(manifest: TrainingManifest) -> Path | None:
    """The recipe of the training: as its command named it, else one in recipes/ with its base."""
    command = manifest["command"]
    if "--config" in command[:-1]:
        path = Path(command[command.index("--config") + 1])
        if path.is_file():
            return path
    base = manifest["base"]
    names = {base.get("name"), base.get("hub_id")} - {None}
    for path in sorted(Path("recipes").glob("*.yaml")):
        if read_recipe(path).get("model_name_or_path") in names:
            return path
    return None


def _dataset_of(manifest: TrainingManifest | None) -> str | None:
    """The rows of the training; of a dataset on the Hub at the commit that it was trained on."""
    if manifest is None or not manifest["dataset"].get("source"):
        return None
    source, revision = str(manifest["dataset"].get("source")), manifest["dataset"].get("revision")
    return f"{source}@{revision}" if revision and hub_id(source) else source


def _check_still_there(dataset: str, adapter: str) -> None:
    if not Path(dataset).exists() and hub_id(dataset) is None:
        raise FileNotFoundError(
            f"{dataset}, the dataset that {adapter} was trained on, is not there any more; give "
            "DATASET="
        )


def _same_source(given: str, trained_on: str) -> bool:
    if Path(given).exists() or Path(trained_on).exists():
        return Path(given).resolve() == Path(trained_on).resolve()
    return given.partition("@")[0] == trained_on.partition("@")[0]


def _report_eval(told: Told) -> None:
    for note in check_eval(told).notes:
        print(f"eval: {note}", file=sys.stderr)


def _report_entry(told: Told) -> None:
    check_name("RUN", told.run)
    for note in _evaluation(told, _adapter_manifest(told)).notes:
        print(f"journal-enter: {note}", file=sys.stderr)


def _check_forecast(told: Told) -> None:
    check_name("RUN", told.run)
    recipe = _recipe_of(told, _adapter_manifest(told))
    is_served = any(word.split("=")[0] == "--model" for word in told.arguments)
    if not is_served:
        fields = read_recipe(recipe)
        model = fields.get("model_name_or_path") or ""
        check_model_fits(model, in_4bit=bool(fields.get("load_in_4bit")), on_cpu=False)


def _check_app(told: Told) -> None:
    if told.explicit:
        _check_forecast(told)
    elif not _demo_is_trained():
        print("app: no demo was trained here (make demo): the base answers alone", file=sys.stderr)


def _demo_is_trained() -> bool:
    return all((Path(_DEMO) / name).is_file() for name in _ADAPTER_FILES)


def _check_push(told: Told) -> None:
    check_name("RUN", told.run)


def _eval_arguments(told: Told) -> str:
    """Recipe and dataset as flags; those that were told if the run's own cannot be known."""
    try:
        chosen = _evaluation(told, _adapter_manifest(told))
        recipe, dataset = str(chosen.recipe), chosen.dataset
    except EXPECTED_ERRORS:
        recipe, dataset = f"recipes/{told.model}.yaml", told.dataset
    return shlex.join(["--config", recipe, "--dataset", dataset])


def _entry_arguments(told: Told) -> str:
    """The recipe as a flag, and the rows of TF-IDF: those told, else those of the training."""
    try:
        manifest = _adapter_manifest(told)
        chosen = _evaluation(told, manifest)
    except EXPECTED_ERRORS:
        return ""  # the check says why
    is_known = "DATASET" in told.explicit or _dataset_of(manifest) is not None
    dataset = ["--dataset", chosen.dataset] if is_known else []
    return shlex.join(["--config", str(chosen.recipe), *dataset])


def _forecast_arguments(told: Told) -> str:
    try:
        return shlex.join(["--config", str(_recipe_of(told, _adapter_manifest(told)))])
    except EXPECTED_ERRORS:
        return ""  # the check says why


def _app_arguments(told: Told) -> str:
    """Recipe, adapter and run as flags: those told, else the demo's."""
    if told.explicit:
        model = shlex.join(["--adapter", told.adapter, "--run", told.run])
        return f"{_forecast_arguments(told)} {model}"
    adapter = _DEMO if _demo_is_trained() else "none"
    return shlex.join(["--config", "recipes/smollm2.yaml", "--adapter", adapter, "--run", "demo"])


def _compare_arguments(told: Told) -> str:
    return shlex.join(map(str, _compared_folders(told)))


def _hint(told: Told) -> str:
    """What to say of the variables `explicit`, of which the Makefile knows none."""
    near = [close_match(name, told.known).removeprefix("; ") for name in sorted(told.explicit)]
    return ", ".join(filter(None, near)) or f"there are: {', '.join(told.known)}"


def _misspelt(told: Told) -> str:
    """What to say of variables of the environment that are nearly one of those that are read."""
    hints = map(misspelt_variable, sorted(told.explicit))
    return ", ".join(hint for hint in hints if hint)


def _operator(told: Told) -> str:
    """What to say of ARGS if the shell would read a part of it as its own; else nothing."""
    bare = _QUOTED.sub("", " ".join(told.arguments))
    found = _OPERATOR.search(bare)
    if not found:
        return ""
    return f"ARGS holds {found[0].strip()!r}, which the shell takes for its own; put it in quotes"


def _check_demo(_: Told) -> None:
    check_free_memory(_DEMO_BYTES, "make demo")


_CHECKS: dict[str, Callable[[Told], object]] = {
    "demo": _check_demo,
    "train": check_train,
    "eval": _report_eval,
    "compare": check_compare,
    "push": _check_push,
    "forecast": _check_forecast,
    "app": _check_app,
    "journal-enter": _report_entry,
}
_PRINTED: dict[str, Callable[[Told], str]] = {
    "train": _train_arguments,
    "eval": _eval_arguments,
    "compare": _compare_arguments,
    "journal-enter": _entry_arguments,
    "forecast": _forecast_arguments,
    "app": _app_arguments,
    "variables": _hint,
    "environment": _misspelt,
    "words": _operator,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 if the target may start, else 2 with one line that says why not."""
    parser = new_parser(__doc__, "weekahead.preflight")
    parser.add_argument("target", choices=sorted({*_CHECKS, *_PRINTED}))
    for name in ("model", "dataset", "run", "accel", "gpus", "adapter", "runs", "report"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--given", default="", help="variables that the user gave")
    parser.add_argument("--known", default="", help="variables that there are")
    parser.add_argument(
        "--print", action="store_true", help="print what the target uses, unchecked"
    )
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    told = _told(options, words[end + 1 :])

    def work() -> int:
        if options.print:
            print(_PRINTED[options.target](told))
        elif not {"--help", "-h"} & set(told.arguments):
            _CHECKS[options.target](told)
        return 0

    return run_command(f"make {options.target}", work)


def _told(options: argparse.Namespace, words: Sequence[str]) -> Told:
    names = ("model", "dataset", "run", "accel", "gpus", "adapter", "runs", "report")
    values: dict[str, str] = {name: getattr(options, name) for name in names}
    return Told(
        **values,
        explicit=frozenset(options.given.split()),
        known=tuple(options.known.split()),
        arguments=tuple(words),
    )


if __name__ == "__main__":
    sys.exit(main())
