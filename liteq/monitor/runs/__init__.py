"""Runs of workflows as documents: one, the newest, their approvals, their export."""
