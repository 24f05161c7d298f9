"""The types of what is stored: rows, manifests and metrics. The values stay plain dicts; the types say their keys."""
