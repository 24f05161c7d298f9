"""Write a trained adapter in a form that other programs take.

    python -m sft.export outputs/<run> [--form merged|gguf] [--out exports/<run>/<form>] [--serve]

`merged` is the model that the adapter was trained as: its 4-bit base dequantized, the adapter
merged into it, in the base's own number format, with tokenizer and chat template, as safetensors.
`gguf` is the same model as one file for llama.cpp, with a Modelfile for Ollama.
`--serve` also prints the commands that serve it and evaluate what is served.
"""

import logging
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sft.gguf.model_file import GgufTitle, check_can_be_gguf, check_gguf, write_gguf
from sft.gguf.modelfile import modelfile
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    new_parser,
    option,
    read_options,
    run_command,
)
from weekahead.files import sha256, with_remedy, write_json
from weekahead.locks import check_writable, sole_writer
from weekahead.manifest import provenance
from weekahead.models.base_identity import base_files
from weekahead.models.chat_format import save_generation_config
from weekahead.models.families import licence_of
from weekahead.models.loading import (
    Adapter,
    Base,
    find_adapter,
    load_for_generation,
    load_tokenizer,
    resolve_base_and_adapter,
)
from weekahead.models.precision import DTYPES, Precision, choose_precision
from weekahead.models.weight_files import bytes_here
from weekahead.recipe import Recipe, read_recipe
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import ExportManifest, read_json_object
from weekahead.task.prompt import PROMPT_VERSION, SYSTEM

log = logging.getLogger(__name__)

_SHARD = "5GB"
_ANSWER_TOKENS = 512
_USUAL_PROMPT = 4096
"""Tokens that are planned for if an adapter does not state the length of its training."""
_GGUF = "model.gguf"
_GGUF_AT_ONCE = 4
"""Answers at once of a llama-server: each holds a window of its own."""
_GIB = 2**30


@dataclass(frozen=True)
class ExportOptions:
    """The flags of sft.export; the folder is a word of its own."""

    form: str = option("merged", choices=("merged", "gguf"), help="what is written")
    out: Path | None = option(None, help="folder to write (default: exports/<run>/<form>)")
    config: Path | None = option(
        None, help="recipe, for an adapter whose manifest names no base, or another place of it"
    )
    serve: bool = option(default=False, help="print the commands that serve and evaluate it")


@dataclass(frozen=True)
class Exported:
    """An export on the disk."""

    folder: Path
    adapter: Adapter
    manifest: ExportManifest


@dataclass(frozen=True)
class Merged:
    """The merged model in memory, and where it comes from."""

    model: Any
    tokenizer: Any
    base: Base
    adapter: Adapter


@dataclass(frozen=True)
class Form:
    """One form of an export: what must hold before the base is loaded, and how it is written."""

    write: Callable[[Merged, Path], None]
    """Writes all files into an empty folder."""
    check: Callable[[Any, Any], None] | None = None
    """Takes config and tokenizer of the base; raises ValueError."""


def write_merged(merged: Merged, folder: Path) -> None:
    """Write weights, tokenizer and chat template as transformers and vLLM read them."""
    merged.model.save_pretrained(folder, max_shard_size=_SHARD)
    merged.tokenizer.save_pretrained(folder)
    save_generation_config(merged.tokenizer, folder)


def write_gguf_files(merged: Merged, folder: Path) -> None:
    """Write model.gguf, read it back, and write a Modelfile. Raises ValueError if they differ."""
    base, adapter, tokenizer = merged.base, merged.adapter, merged.tokenizer
    hub_id = base.manifest_fields().get("hub_id")
    licence = licence_of(hub_id) if hub_id else None
    title = GgufTitle(Path(adapter.reference).name, licence.id if licence else None, hub_id)
    write_gguf(folder / _GGUF, merged.model, tokenizer, title)
    count = check_gguf(folder / _GGUF, merged.model, tokenizer)
    log.info("%s read back: %d tensors and the vocabulary are the model's", _GGUF, count)
    ours = adapter.manifest is not None and adapter.manifest["prompt_versions"] == [PROMPT_VERSION]
    text = modelfile(
        _GGUF,
        tokenizer,
        system=SYSTEM if ours else None,
        window=_longest_prompt(adapter) + _ANSWER_TOKENS,
        answer_tokens=_ANSWER_TOKENS,
    )
    (folder / "Modelfile").write_text(text, encoding="utf-8")


FORMS: Mapping[str, Form] = {
    "merged": Form(write_merged),
    "gguf": Form(write_gguf_files, check_can_be_gguf),
}


def export(adapter: Adapter, recipe: Recipe, out: Path, form: str = "merged") -> Exported:
    """Write the merged model into `out`; one that is there already, of the same adapter, stays.

    Raises ValueError or OSError, before the base is loaded, for a folder that holds something else,
    a base that does not fit or has no such form, or a disk without room.
    """
    precision = _precision(adapter)
    base, _ = resolve_base_and_adapter(recipe, adapter.reference, precision)
    stated = _manifest(adapter, base, form)
    if out.exists() and any(out.iterdir()):
        return Exported(out, adapter, _same_export(out, stated))
    tokenizer = load_tokenizer(base)
    check = FORMS[form].check
    if check:
        check(_config(base), tokenizer)
    size = bytes_here(base.name, base.revision)
    if size is not None:
        _check_room(out, size * (2 if base.dtype == "float32" else 1))
    merged = Merged(_merged(base, adapter, precision), tokenizer, base, adapter)
    with sole_writer(out.parent):
        return Exported(out, adapter, _write(merged, out, stated))


def _config(base: Base) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(
        base_files(base.name, base.revision)[0], trust_remote_code=False
    )


def _precision(adapter: Adapter) -> Precision:
    """The number format of the adapter's training, on this machine's device."""
    here = choose_precision()
    dtype = adapter.manifest["base"].get("dtype") if adapter.manifest else None
    mode = next((mode for mode, name in DTYPES.items() if name == dtype), here.mode)
    return replace(here, mode=mode, reason=f"{here.reason}; the adapter was trained in {mode}")


def _merged(base: Base, adapter: Adapter, precision: Precision) -> Any:
    """The merged model; on the CPU if the GPU has no room for it in 16 bits."""
    model, form = load_for_generation(base, adapter, precision)
    if not form.endswith("merged") or "unmerged" in form:
        log.info("the GPU has no room for the whole model: it is merged on the CPU")
        del model
        model, form = load_for_generation(base, adapter, replace(precision, device="cpu"))
    log.info("model: %s (%s)", base.name, form)
    return model


def _manifest(adapter: Adapter, base: Base, form: str) -> ExportManifest:
    training = (adapter.manifest or {}).get("result") or {}
    return {
        **provenance(),
        "kind": "export",
        "form": form,
        "adapter": adapter.reference,
        "adapter_sha256": training.get("adapter_sha256") or sha256(_weights(adapter)),
        "base": base.manifest_fields(),
        "files": {},
    }


def _weights(adapter: Adapter) -> Path:
    return next(path for path in sorted(adapter.folder.glob("adapter_model.*")))


def _same_export(out: Path, stated: ExportManifest) -> ExportManifest:
    """The manifest of the export in `out`. Raises ValueError if it is of something else."""
    path = out / MANIFEST
    stored: Any = read_json_object(path) if path.is_file() else {}
    keys = ("kind", "form", "adapter_sha256", "base")
    differing = [key for key in keys if stored.get(key) != stated.get(key)]
    if differing:
        what = "another export" if stored.get("kind") == "export" else "something else"
        raise ValueError(
            f"{out} holds {what} ({', '.join(differing)} differ); remove it, or name another --out"
        )
    missing = [name for name in stored["files"] if not (out / name).is_file()]
    if missing:
        raise ValueError(f"{out} lacks {missing[0]}, which its manifest states; remove the folder")
    log.info("%s is there already", out)
    return stored


def _check_room(out: Path, size: float) -> None:
    """Raise OSError if the disk under `out` has no room for `size` bytes."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < size:
        raise OSError(
            f"{out} needs {size / _GIB:.1f} GiB, and {free / _GIB:.1f} are free: make room, or "
            "name another --out"
        )


def _write(merged: Merged, out: Path, stated: ExportManifest) -> ExportManifest:
    """Write all files beside `out`, and move the folder when they are whole."""
    _check_room(out, sum(weight.nbytes for weight in merged.model.state_dict().values()))
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        FORMS[stated["form"]].write(merged, partial)
        files = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        manifest: ExportManifest = {**stated, "files": files}
        write_json(partial / MANIFEST, manifest)
        if out.exists():
            out.rmdir()  # it is empty
        partial.replace(out)
    except Exception as error:  # every library has an error of its own for a full disk
        raise with_remedy(error, out) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def recipe_of(adapter: Adapter, config: Path | None) -> Recipe:
    """What names the adapter's base: the recipe given, else its own manifest.

    Raises ValueError for an adapter of other software without a recipe.
    """
    if config:
        return read_recipe(config)
    if not adapter.manifest:
        raise ValueError(
            f"{adapter.reference} has no manifest that names base and chat format; give "
            "--config recipes/<model>.yaml"
        )
    base = adapter.manifest["base"]
    name = base.get("name") or ""
    recipe: Recipe = {
        "model_name_or_path": name if Path(name).is_dir() else base.get("hub_id") or name,
        "turn_format": base.get("turn_format") or "",
    }
    return recipe


def serving_lines(exported: Exported) -> list[str]:
    """The command that serves an export, and the one that evaluates what is served."""
    name = exported.folder.absolute().parent.name
    run = Path(exported.adapter.reference).name
    window = _longest_prompt(exported.adapter) + _ANSWER_TOKENS
    if exported.manifest["form"] == "gguf":
        serve = ["llama-server", "--model", str(exported.folder / _GGUF), "--alias", name]
        serve += ["--port", "8000", "--parallel", str(_GGUF_AT_ONCE)]
        serve += ["--ctx-size", str(window * _GGUF_AT_ONCE)]  # shared by those answered at once
        at_once = _GGUF_AT_ONCE
    else:
        serve = ["vllm", "serve", str(exported.folder), "--served-model-name", name]
        serve += ["--dtype", str(exported.manifest["base"].get("dtype"))]
        if _stated_length(exported.adapter):
            serve += ["--max-model-len", str(window)]
        at_once = 64
    flags = f"--backend endpoint --model {name} --endpoint_prompt ids --batch_size {at_once}"
    return [
        shlex.join(serve),
        f'OPENAI_BASE_URL=http://127.0.0.1:8000/v1 make eval RUN={run} ARGS="{flags}"',
    ]


def _stated_length(adapter: Adapter) -> int | None:
    """The longest row of the training, in tokens, if the adapter states it."""
    longest = adapter.manifest["settings"].get("max_length") if adapter.manifest else None
    return longest if isinstance(longest, int) else None


def _longest_prompt(adapter: Adapter) -> int:
    return _stated_length(adapter) or _USUAL_PROMPT


def run(folder: str, options: ExportOptions) -> int:
    """Export the adapter and print where it is; with `serve`, how it is served."""
    adapter = find_adapter(folder)
    out = options.out or Path("exports") / Path(folder).resolve().name / options.form
    check_writable(out.parent)
    exported = export(adapter, recipe_of(adapter, options.config), out, options.form)
    if options.serve:
        for line in serving_lines(exported):
            print(line)
    else:
        print(exported.folder)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 with the folder (or the commands), 2 with the reason and the remedy."""
    parser = new_parser(__doc__, "sft.export")
    parser.add_argument("folder", help="outputs/<run>, or user/name[@revision]")
    add_options(parser, ExportOptions)
    arguments = parser.parse_args(argv)
    options = read_options(arguments, ExportOptions)
    configure_logging()
    return run_command("sft.export", lambda: run(arguments.folder, options), errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
