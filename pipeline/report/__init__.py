"""What people look at: pictures, and the pages that hold them.

In the order of their imports:

    plots/    every picture
    listing/  what runs there are, and what each says of itself
    compare/  several runs -> which is better, and whether that is more than chance
    explain/  one example -> which of its steps made the model say what it says
    page/     report.html: one file that shows a run
"""
