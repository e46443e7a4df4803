"""Asks and judges in one go: what several sections use as a part of their lines."""
