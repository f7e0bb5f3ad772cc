"""Mutants: small faults in the package, each with the tests that must fail of it. ``make mutants`` tests the tests so.

In the order of their imports:

    table     the entries of the .toml files beside this one
    nursery   a process that forks for each run of pytest
    trial     a copy of the project with one mutant in it, and what its tests say
    __main__  all of them or some, and the score
"""
