"""searching requests, and what operators did

Revision: 0020, after 0019.
"""

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    pass
