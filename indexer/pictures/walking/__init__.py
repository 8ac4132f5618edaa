"""The walk through people's folders: which files it comes to, and which rules leave some out.

It looks at names, sizes and times, and into no file but the rules that people put beside pictures.
"""
