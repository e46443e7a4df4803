"""The sections of the checklist's part Performance configuration."""
