"""Commands that serve others: pages, a gateway, agents, metrics, alerts, a probe."""
