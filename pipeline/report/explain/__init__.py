"""One example -> which of its steps and channels made the model say what it says, and whether that is true.

In the order of their imports:

    gradients  integrated gradients, and how much each step matters
    deletion   steps are taken away in the order of their attribution: does the model notice?
    picture    an attribution over the series or the image, and the deletion curve
"""
