"""A real Trainer on a model of one layer, for tests of what a training logs."""

from sft.training.callbacks import TrainLogCallback


def row(number):
    """Eight tokens; every second row is half padding, so two rows have 8 + 4 real tokens."""
    mask = [1] * 8 if number % 2 else [1] * 4 + [0] * 4
    ids = [(number + position) % 30 + 1 for position in range(8)]
    labels = [token if seen else -100 for token, seen in zip(ids, mask, strict=True)]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def make_trainer(folder, callbacks, report_to="none"):
    """Four optimizer steps of two rows each; evaluation and checkpoint after two and four."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    torch.manual_seed(0)
    shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = LlamaConfig(**shape, num_attention_heads=2, num_key_value_heads=2)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        max_steps=4,
        logging_steps=1,
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        use_cpu=True,
        report_to=report_to,
        disable_tqdm=True,
        include_num_input_tokens_seen="non_padding",
    )
    rows = [row(number) for number in range(8)]
    return Trainer(
        model=LlamaForCausalLM(config),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows[:2],
        callbacks=callbacks,
    )


def train_and_log(folder, *, resume=False):
    """Train into `folder` with its log; the trainer and the callback that wrote the log."""
    callback = TrainLogCallback(folder, peak_tokens_per_second=1e6)
    trainer = make_trainer(folder, [callback])
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer, callback
