"""Real applications of three frameworks, each behaviour switched by an environment variable (see the top of each source)."""
