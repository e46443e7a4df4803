"""The engine of checklist-exporter. It names no collector."""
