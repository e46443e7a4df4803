"""What is known of postgresql."""
