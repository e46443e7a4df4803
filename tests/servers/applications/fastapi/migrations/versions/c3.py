from alembic import op

revision, down_revision, branch_labels, depends_on = "c3", "b2", None, None


def upgrade():
    op.execute("CREATE TABLE t_c3 (id int)")


def downgrade():
    op.execute("DROP TABLE t_c3")
