"""The only SQL. Every public method is one transaction of its own: what it returns is committed."""
