"""Measurements, side by side with peers. `python -m benchmarks` prints them as Markdown."""
