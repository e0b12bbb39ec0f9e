"""The only SQL of the project. Each public method is one transaction: what it returns is committed."""
