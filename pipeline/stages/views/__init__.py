"""The commands that show what was trained.

In the order of their imports:

    summary   runs/NAME/ -> what it gave, what to type next
    explain   runs/NAME/ and an example -> which of its steps made the model say what it says
    report    runs/NAME/ -> runs/NAME/report.html
    runs      runs/ -> what runs there are, what may be deleted
    compare   runs/ONE runs/OTHER -> which is better, and whether that is more than chance
    commands  these commands as they are typed
"""
