"""The engine of checklist-exporter. It names no collector."""

import sys

# httpx imports its own command line when it can, and with it rich and pygments: six megabytes that nobody asked for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
