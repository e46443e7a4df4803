"""Attacks on a running exporter: what a hostile machine, disk, clock, file or plug-in may do to it, and what must hold then."""
