"""The sections of the checklist's part Third party integrations."""
