"""What is typed on a terminal, and how a command ends there.

In the order of their imports:

    typed       words of a command line, in the forms that people type -> those that a command takes
    answer      what all answers as JSON are made of
    machine_answers  what is answered of machines
    answers     what a command answers, as JSON
    streams     what goes to the standard output, with --quiet and with --json
    commands    commands that take such words; their help
    options     options that several commands have
    keys        the help of a key
    completion  what bash, zsh and fish ask for at the cursor
    helpful     the commands about the program itself
    endings     what ends the program -> the last line on the screen and the exit status
"""
