"""Pictures and forms that the server draws: charts, graphs, the time of a run, tracebacks."""
