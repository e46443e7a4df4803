"""barman: backups of a PostgreSQL, and its WAL, on a server of their own."""
