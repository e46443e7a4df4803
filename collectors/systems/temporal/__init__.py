"""Temporal: a workflow engine whose workers poll task queues."""
