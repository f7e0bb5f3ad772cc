"""The user's own files -> series.

In the order of their imports:

    limits         the largest of each thing that is read
    held           what libraries write of a fault of their own, kept from the screen
    cells          words, numbers and messages that all readers share
    text_files     text, plain or gzip, as a stream
    folders        what lies in a folder: recordings by class, or part files
    arrays/        .npz -> series
    tables/        CSV and Parquet -> series
    time_stamps    the steps of a .ts file that have times
    ts             .ts -> series
    arff           ARFF -> series
    shapes/        series as a file has them -> series as they are asked for
    formats        a file or a folder -> series, by its format
"""
