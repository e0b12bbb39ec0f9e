"""What is compared with: each does the unavoidable and nothing else."""
