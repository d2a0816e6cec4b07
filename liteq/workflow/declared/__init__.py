"""Workflows and steps as they are declared: their options, their checks, their budgets."""
