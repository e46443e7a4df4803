"""The sections of the checklist's part Monitoring and observability."""
