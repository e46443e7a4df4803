"""What is known of jaeger."""
