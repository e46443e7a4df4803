"""WAL-G: backups of a PostgreSQL and its WAL in object storage."""
