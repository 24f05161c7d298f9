"""A fictional market whose news carries a signal of known strength. Nothing outside this package knows of it."""
