"""`python -m aigen_bridge` is `aigen-bridge`."""

from aigen_bridge.cli import main

main()
