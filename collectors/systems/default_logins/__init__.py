"""Whether servers let in whoever comes with the credentials that they were delivered with."""
