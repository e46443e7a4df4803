"""`checklist-exporter demo`: real servers on this machine, verified and served, and ways to break them."""
