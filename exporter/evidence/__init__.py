"""Evidence: records in files, what they are worth, and how they are written."""
