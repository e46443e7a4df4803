"""What several sections ask of a service, and judge."""
