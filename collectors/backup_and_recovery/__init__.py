"""The sections of the checklist's part Backup and recovery."""
