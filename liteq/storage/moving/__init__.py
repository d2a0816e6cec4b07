"""Moving a queue to another store: which rows go, how a store is shut meanwhile, and the steps over both."""
