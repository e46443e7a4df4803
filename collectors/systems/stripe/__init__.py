"""Stripe: accounts, keys, webhook endpoints and the delivery of events."""
