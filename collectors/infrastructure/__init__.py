"""The sections of the checklist's part Infrastructure."""
