"""What leads from outside to Services: kinds of objects, and what each of them says."""
