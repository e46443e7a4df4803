"""What is known of loki."""
