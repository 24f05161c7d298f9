"""A fictional market whose news carries a signal of known strength.

No other package imports it.
"""
