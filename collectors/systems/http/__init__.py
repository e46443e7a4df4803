"""HTTP services of one's own: what they answer to a few harmless GET requests, and whether that is well."""
