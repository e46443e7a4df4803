"""blackbox_exporter: what can be reached from where it runs."""
