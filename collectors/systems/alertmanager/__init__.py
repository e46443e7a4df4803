"""What is known of alertmanager."""
