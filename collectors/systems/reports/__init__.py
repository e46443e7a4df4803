"""What test, load and security tools wrote into files: read by their content, judged by what was done."""
