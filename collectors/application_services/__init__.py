"""The sections of the checklist's part Application services."""
