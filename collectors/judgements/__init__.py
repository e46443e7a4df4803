"""What several sections judge alike: free space, scraped metrics, verdicts in parts."""
