"""What settings, Secrets and their stores mean."""
