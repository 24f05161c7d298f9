"""Reference answers, paid for once: `python -m data_pipeline.teacher`."""
