"""The sections of the checklist's part Final sign off."""
