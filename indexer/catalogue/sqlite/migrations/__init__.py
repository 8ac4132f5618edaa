"""How a catalogue of an earlier version becomes one of this: one module a version.

Run by `upgrade`, behind the library's lock.  A version that was released is never changed.
"""
