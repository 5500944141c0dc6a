"""Training of IP-IQA: Image2Prompt, the regression on ratings, its tables and its ablation."""
