"""VolumeSnapshots of Kubernetes: copies of a volume's blocks, made by its storage."""
