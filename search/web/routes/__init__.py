"""What each address does: one module a subject; no logic that the engine has."""
