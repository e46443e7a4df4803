"""The sections of the checklist's part Pre launch validation."""
