"""The sections of the checklist's part Environment and secrets."""
