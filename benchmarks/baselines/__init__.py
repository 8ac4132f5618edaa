"""What parecido is compared with: the plain recipe, and the least that has to be done.

Each is a process of its own; must not know what is compared with it.
"""
