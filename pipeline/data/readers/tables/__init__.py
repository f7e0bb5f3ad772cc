"""Tables of rows, in CSV or Parquet -> series.

In the order of their imports:

    rows           rows of a table as arrays
    table          a table of rows in blocks, whatever file it is in
    csv_dialect    how a table is written as text
    csv_lines      the lines of a CSV file, checked
    csv_table      CSV as a table
    parquet_sizes  what a Parquet file states of its sizes, checked
    parquet_table  Parquet as a table
    part_files     several files of one table as one
    list_cells     cells that hold lists -> values
    row_order      the rows of a long table, those of each series together
    layouts        long and wide tables -> series
"""
