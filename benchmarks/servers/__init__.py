"""The servers: each contestant's way to do the same three things, one small file for each.

* ``echo``: what comes goes back.
* ``sink``: for each MiB that has come, one dot goes back.
* ``source``: for each byte that comes, a MiB of dots goes back.

They are written as the documentation of each library writes its first example: what is measured
is what a user gets, with a backlog that does not drop anybody.
"""

MEBIBYTE = 1 << 20
DOTS = b"." * MEBIBYTE
BACKLOG = 1024
HOST = "127.0.0.1"
