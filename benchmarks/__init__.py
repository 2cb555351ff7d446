"""Benchmarks, run from the repository's root with `python -m benchmarks.NAME`. Each prints Markdown tables."""
