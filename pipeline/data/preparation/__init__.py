"""Raw examples -> prepared/.

In the order of their imports:

    twins         examples that stand in two splits
    spool         all series of a file, in a temporary file, to be used in any order
    moments       Mean and standard deviation of a stream of blocks
    part_files    parts on disk, written as streams
    image_parts   images -> the parts of a prepared folder
    series_split  which series make which part, and of which class each is
    doubts        what is strange about series -> lines of text
    series_parts  series -> the parts of a prepared folder, in bounded memory
    report        what a prepared folder holds, in numbers
    folder        raw -> prepared/, whole or not at all; what changed is refused
    staging        a copy of a prepared folder on a disk of this host
"""
