"""Secrets and settings of workloads: where they come from, what they are made of, and how old they are; never a Secret itself."""
