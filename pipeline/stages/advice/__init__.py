"""The commands that look at data, configuration and machine before anything is trained, and say what to do.

In the order of their imports:

    splitting     how the splits of series that nobody has described are cut
    init          a file that nobody has described yet -> a configuration
    check         the dry run
    tune          prepared/ -> tuning/NAME/
    examination/  the checks of the doctor
    doctor        what this machine can do, and which promises hold on it
    sweep_trial   one trial: a run of its own, watched
    sweep_result  what a sweep gave, and what to type next
    sweep         prepared/ -> runs/NAME-sweep/
    plan          a configuration and numbers of processes -> hours
    commands      all of them, as they are typed
"""
