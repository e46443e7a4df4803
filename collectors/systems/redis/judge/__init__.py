"""What a Redis node's answers mean, judged against limits. Nothing here asks anything.

Judges yield what is wrong, the worst first, and nothing when all is well. They raise ProbeError when an answer is missing or is
none of Redis's.
"""
