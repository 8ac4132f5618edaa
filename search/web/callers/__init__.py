"""Who calls: their connections, their turns, their sessions, their guesses of the token.

May use: errors, settings, system.  Must not know what is asked for.
"""
