"""Types of what is stored: rows, manifests and metrics. The values are plain dicts."""
