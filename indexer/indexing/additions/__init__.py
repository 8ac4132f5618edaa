"""What later versions keep of a picture, for those that were indexed before.

May use: a run's plan, and how it reads files.  Must not know what a run decides.
"""
