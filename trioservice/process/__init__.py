"""One operating-system process and its manners: runner, logs, exits.

This room knows nothing of files that describe applications; it is handed an Application.
"""
