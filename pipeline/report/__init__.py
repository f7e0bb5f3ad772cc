"""What people look at: pictures, and the pages that hold them.

In the order of their imports:

    plots/  every picture
"""
