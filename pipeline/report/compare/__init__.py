"""Several runs -> in what they differ, which is better, and whether that is more than chance.

In the order of their imports:

    statistics  tests and intervals, each with its source
    evaluated   a run -> what its evaluation said of each test example
    groups      runs -> groups that differ by their seed only
    verdicts    groups -> for each two of them, whether one is better
    chart       curves -> a drawing in SVG
    page        all of it -> one file of HTML that asks for nothing else
"""
