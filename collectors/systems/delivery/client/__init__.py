"""Asks a site as browsers do."""
