"""What is known of prometheus."""
