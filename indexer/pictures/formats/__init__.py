"""What single kinds of files need, so that they are shown as viewers show them.

Knows nothing of sizes that encoders want.  May use: ``limits``.
"""
