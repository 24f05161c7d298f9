"""A report over any number of scored runs: one HTML page, its Markdown, tables and pictures.

`python -m eval.report results/a results/b --out results/compare`
"""
