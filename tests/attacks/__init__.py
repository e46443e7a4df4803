"""What a hostile client, server, disk or plug-in does, and that verification and scrapes go on. Everything stays on loopback."""
