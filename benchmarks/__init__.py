"""Benchmarks of the bridge. Each figure is a ratio to a ceiling that is measured in the same run, alternating with it.

`make bench` runs all of them, `make bench BENCH=accept` runs one. docs/performance.md describes the method.
"""
