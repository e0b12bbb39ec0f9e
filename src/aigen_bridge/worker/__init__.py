"""Claims outbox entries, runs their steps and settles them. Also runs the periodic sweeps and purges."""
