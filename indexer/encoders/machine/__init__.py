"""What encoders need of the machine: devices, the cache, imports, a child process.

May use: system.  Must not know which networks there are; frameworks come when they are asked for.
"""
