"""Backups outside of the server that they are of: objects in buckets, and snapshots of RDS."""
