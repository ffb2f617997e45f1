"""Benchmarks of kinewax: `python -m bench CASE`; README.md says how and what bounds them."""
