"""The guard at the door: links, tokens and cookies, refusals, and how often somebody may come."""
