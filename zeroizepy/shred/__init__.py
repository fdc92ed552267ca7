"""Overwriting files: facts -> plan -> passes -> verify -> names -> report.

`facts` asks the file system, `plan` decides without touching anything, `run` carries the plan out on one open
descriptor, `names` removes the directory entry, and `report` says what was reached. `freespace` fills what no file
owns. The public face is `zeroizepy.file`.
"""
