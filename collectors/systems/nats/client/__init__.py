"""Asks NATS servers by their own protocol, by JetStream's API and by their monitoring endpoints."""
