"""What the bridge costs, each figure as a ratio to a ceiling that is measured in the same run, in turns with it.

`make bench` runs all of them, `make bench BENCH=accept` one. docs/performance.md says how and why.
"""
