"""Networks as encoders: pictures in, descriptors and labels out.

Importing this room imports no framework; those come in a child process, or with a runtime.
May use: pictures, records, system.  Must not know libraries.
"""
