"""What is known of kubernetes."""
