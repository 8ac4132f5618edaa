"""What each address does: one module a subject; no logic that the engine has.

May use: schemas, service, jobs.  Must not open a library or run a network by itself.
"""
