"""What is known of redis."""
