"""The sections of the bundled checklist: a folder for each of its parts, a module for each section."""
