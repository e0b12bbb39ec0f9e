"""Checks everything the bridge depends on, and reports problems and their remedies. Changes nothing in any system.

The one exception is `doctor --write`, which writes an object to the image store, and deletes it.

There is one module per subject and one function per check, which takes the `Subject` and returns findings. To add a
check, write such a function and add it to `CHECKS` (examine.py). A check may read, and may send calls that have no
effect in other systems; an import contract keeps it away from everything that writes.
"""
