"""What the commands beside this folder are made of: subcommands, what is said, progress.

No room knows these; `python -m nas_skeleton.COMMAND` is the module of that name one folder up.
"""
