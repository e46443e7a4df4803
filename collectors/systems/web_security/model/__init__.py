"""What answers of a web application mean for its security."""
