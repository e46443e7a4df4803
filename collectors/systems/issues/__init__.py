"""Issue trackers: GitHub, GitLab, Jira, or any API that answers in JSON."""
