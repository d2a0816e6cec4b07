"""The verbs of LangGraph's checkpoints and of its store (contrib/liteq_langgraph): no worker's room.

A value of a channel stands under its version. Large values, and each element of a list, are blobs, found by the hash
of what they hold and counted by the rows that name them. A list is what it was at an older version, its first elements
kept, and new ones behind them. So a thread grows by what is new in it, however long it is.
"""
