"""sessions of the console, and when each key was last used

Revision: 0022, after 0021.
"""

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    pass
