"""Round trips: a value that nobody else can know is written, read back, and goes away by itself."""
