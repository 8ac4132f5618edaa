"""How a catalogue of an earlier version becomes one of this: one module a version."""
