"""The user's own files -> series.

In the order of their imports:

    limits         the largest of each thing that is read
    cells          words, numbers and messages that all readers share
    text_files     text, plain or gzip, as a stream
    arrays/        .npz -> series
    tables/        CSV and Parquet -> series
    ts             .ts -> series
    arff           ARFF -> series
    formats        a file -> series, by its format
"""
