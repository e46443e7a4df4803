"""What is known of nats."""
