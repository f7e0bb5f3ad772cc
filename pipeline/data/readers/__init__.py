"""The user's own files -> series.

In the order of their imports:

    limits         the largest of each thing that is read
    cells          words, numbers and messages that all readers share
    table          a table of rows in blocks, whatever file it is in
    parquet_sizes  what a Parquet file states of its sizes, checked
    csv_table      CSV as a table
    parquet_table  Parquet as a table
    table_layouts  long and wide tables -> series
    npz_archive    the strict reader of the arrays in an .npz file
    npz            .npz -> series
    ts             .ts -> series
    arff           ARFF -> series
    formats        a file -> series, by its format
"""
