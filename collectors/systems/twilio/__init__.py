"""Twilio: messages, calls and numbers of an account."""
