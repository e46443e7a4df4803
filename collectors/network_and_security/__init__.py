"""The sections of the checklist's part Network and security."""
