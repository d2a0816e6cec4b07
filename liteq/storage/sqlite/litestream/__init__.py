"""Litestream beside a queue: its control socket, and the marks that it leaves in a file (docs/adr/0046)."""
