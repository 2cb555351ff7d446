"""The bodies that start jobs, and what a job's parameters become of them: names checked, the catalogue's folder
resolved inside the allowed roots, the release fixed. A job is created with nothing left to guess.
"""
