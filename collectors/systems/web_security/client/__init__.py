"""Asks a web application as a browser, a stranger and an attacker would, without writing anything."""
