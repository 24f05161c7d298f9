"""Whether a dataset leaks, and what else is wrong with it: `python -m data_pipeline.audit`."""
