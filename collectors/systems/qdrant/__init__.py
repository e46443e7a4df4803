"""What is known of qdrant."""
