"""OpenAI, and what speaks its API: models, completions, limits and costs."""
