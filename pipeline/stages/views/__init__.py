"""The commands that show what was trained, and change nothing of it.

In the order of their imports:

    summary  runs/NAME/ -> what it gave, what to type next
"""
