"""What is known of grafana."""
