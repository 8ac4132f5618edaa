"""How fast parecido is, and how well it finds; a room for each thing that is asked.

May use everything.  On this floor lies what the rooms share: the plan, children, figures, reports.
"""
