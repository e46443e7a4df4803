"""Whether what a tool reports proves what a line says."""
