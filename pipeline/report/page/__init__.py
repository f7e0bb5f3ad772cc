"""report.html: one file that shows a run, and asks no server for anything.

In the order of their imports:

    shown      what is safe to write into a page: texts, JSON, numbers, bytes
    measured   eval/ -> the headline, the confusion matrix, the measures of each class, reliability
    curves     metrics.jsonl -> lines over the steps
    history    environment.json and the files of a run -> attempts, phases, how the export was compared
    dataset    a prepared folder -> what the data is like
    choice     which examples are shown
    examples   rows of a split -> what the page draws and computes with
    reasons  examples -> what made the model say what it says
    ink        images -> how thick, large and where a drawn one must be
    weights    a model -> numbers that the page computes with
    writing    all of it -> one file

Beside them lies ``assets/``: the template, the style and the scripts, as they are put into the page.
"""
