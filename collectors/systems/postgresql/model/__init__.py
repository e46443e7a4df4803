"""What the answers mean, and the options that limit them; pure."""
