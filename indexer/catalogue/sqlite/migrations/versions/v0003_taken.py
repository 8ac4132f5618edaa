"""When and with what pictures were taken.

Pictures that are already there have neither until their content changes.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("pictures", sa.Column("taken_at", sa.Text))
    op.add_column("pictures", sa.Column("camera", sa.Text, nullable=False, server_default=""))
