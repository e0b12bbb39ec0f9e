"""PostgreSQL with automatic failover: three nodes under Patroni, struck while the bridge works (`make e2e-ha`)."""
