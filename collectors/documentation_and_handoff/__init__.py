"""The sections of the checklist's part Documentation and handoff."""
