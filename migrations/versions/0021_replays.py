"""replays in the background

Revision: 0021, after 0020.
"""

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    pass
