"""Files by chance: what is valid is read as the libraries of its format read it, and what is damaged ends in one message.

In the order of their imports:

    valid     valid files of every format, and what is in them
    shapes    valid files in the shapes that formats share: recordings, parts, lists, windows, pixels, axes
    damage    bytes and words that are changed by chance
    formats   how each format is made, read and prepared
    campaign  a worker that reads many files, watched from outside
    __main__  many files of a format, and what was found
"""
