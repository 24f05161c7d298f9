"""The recipe of an adapter, from its manifest: the settings as they were used, flags included."""

from typing import Any

from sft.training.fields import HARMLESS, HONOURED
from weekahead.schema.manifests import BaseFacts, TrainingManifest

_ACCUMULATION = "gradient_accumulation_steps"
_PROCESSES = "world_size"
_HEAD = """\
# The settings that this adapter was trained with:
#   python -m sft.train --config recipe.yaml --dataset {dataset} --output_dir outputs/again
"""


def recipe_text(manifest: TrainingManifest, base_id: str) -> str:
    """A recipe that `sft.train` reads, with the base's name on the Hub.

    It is for one process: the accumulation is that of all processes together, so that the rows per
    step stay.
    """
    import yaml

    settings = manifest["settings"]
    known = HONOURED | HARMLESS
    fields = {name: value for name, value in settings.items() if name in known}
    processes, accumulation = settings.get(_PROCESSES), fields.get(_ACCUMULATION)
    if isinstance(processes, int) and isinstance(accumulation, int):
        fields[_ACCUMULATION] = processes * accumulation
    stated = {**_base_fields(manifest["base"], base_id), **fields}
    present = {name: value for name, value in stated.items() if value is not None}
    dataset = manifest["dataset"].get("source") or "..."
    return _HEAD.format(dataset=dataset) + yaml.safe_dump(present, sort_keys=False)


def _base_fields(base: BaseFacts, base_id: str) -> dict[str, Any]:
    quantization = base.get("quantization")
    fields: dict[str, Any] = {
        "model_name_or_path": base_id,
        "model_revision": base.get("revision"),
        "turn_format": base.get("turn_format"),
        "use_peft": True,
        "load_in_4bit": bool(quantization),
    }
    if quantization:
        fields["bnb_4bit_quant_type"] = quantization.get("bnb_4bit_quant_type")
        fields["use_bnb_nested_quant"] = quantization.get("bnb_4bit_use_double_quant")
    return fields
