from alembic import op

revision, down_revision, branch_labels, depends_on = "b2", "a1", None, None


def upgrade():
    op.execute("CREATE TABLE t_b2 (id int)")


def downgrade():
    op.execute("DROP TABLE t_b2")
