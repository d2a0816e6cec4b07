"""The demonstration: `liteq demo`."""
