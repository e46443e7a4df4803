from alembic import op

revision, down_revision, branch_labels, depends_on = "d4", "a1", "feature", None


def upgrade():
    op.execute("CREATE TABLE t_d4 (id int)")


def downgrade():
    op.execute("DROP TABLE t_d4")
