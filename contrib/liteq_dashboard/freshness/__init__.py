"""Changes of a file under the pages: whether there are any, how they are told, how old a replica is."""
