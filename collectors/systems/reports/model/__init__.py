"""The formats of reports, and the one record that all are read into."""
