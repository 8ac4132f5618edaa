"""What is known of a library's pictures, the only truth: what to ask, and how it changes.

The words are here, the engine that keeps them below.  May use: records, learning, system.
"""
