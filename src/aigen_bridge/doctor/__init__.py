"""Looks at everything the bridge depends on, and says what is wrong and what to do. It changes nothing anywhere.

One module for each thing that is looked at, one function for each check: it takes the `Subject` and returns
findings. A new check is such a function and its line in `CHECKS` (examine.py). It may read, and ask what other
systems answer without doing anything; an import contract keeps it away from everything that writes.
"""
