"""Asks those who know about keys: AWS, issuers of tokens, APIs, databases."""
