"""Claims outbox entries, runs their steps and settles them; sweeps and purges."""
