"""Workers that take tasks from queues in Redis: Celery, ARQ, Dramatiq, RQ, BullMQ."""
