"""restic: snapshots of files and dumps in a repository, and whether that is sound."""
