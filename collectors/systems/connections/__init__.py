"""Connections of a service, by the lists of the servers that it is connected to."""
