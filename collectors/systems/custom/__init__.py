"""What lines of a user's own look at: one thing each, whose facts must meet conditions."""
