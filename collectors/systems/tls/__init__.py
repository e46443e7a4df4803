"""What is known of tls."""
