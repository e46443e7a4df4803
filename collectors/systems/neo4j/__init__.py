"""What is known of neo4j."""
