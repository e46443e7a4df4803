"""What default logins are, and what became of them."""
