"""A file that nobody has described yet -> what is what in it.

In the order of their imports:

    names       what people call the columns of a table
    sample      the first rows of a table, as numbers, dates and words
    frame       its columns by their names, and what is found in them
    keys        which column is the class, the series, the time, the group
    words       what is said of a column of words
    images      images in the rows of a table
    paths       what the paths of recordings may say: class and person
    recordings  the columns of recordings in a folder per class
    roles       the columns of a table: id, time, label, group, channels
    arrays      which arrays hold values and labels, and the order of axes
    nearest     whether series are told apart better by their shape alone
    profile     how many series there are, how long, of which classes
"""
