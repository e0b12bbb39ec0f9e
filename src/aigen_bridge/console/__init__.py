"""The operators' console at /console: pages rendered by the server, over the same pipeline functions as the API.

`install` adds it to the application. docs/console.md describes it for its users, docs/adding-a-page.md for developers.
"""

from aigen_bridge.console.app import install

__all__ = ["install"]
