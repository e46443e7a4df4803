"""Write and read canaries."""
