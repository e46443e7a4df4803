"""Decides; asks nobody."""
