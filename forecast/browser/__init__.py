"""The page of `make app`: what it asks, what it draws, and how it is served."""
