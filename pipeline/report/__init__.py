"""What people look at: pictures, and the pages that hold them.

In the order of their imports:

    plots/    every picture
    listing/  what runs there are, and what each says of itself
    page/     report.html: one file that shows a run
"""
