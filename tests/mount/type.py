"""Types into a program on a terminal of its own: type.py AWAIT KEYS PROGRAM ARGUMENT...

The keys are sent when the program has shown AWAIT: what is typed before it is ready, it may throw away. Ends as the
program ends.
"""

import os
import pty
import sys

awaited, keys = (os.fsencode(word) for word in sys.argv[1:3])
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[3], sys.argv[3:])
shown, typed = b"", False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:  # The program has closed its end.
        break
    shown += more
    if not typed and awaited in shown:
        os.write(terminal, keys)
        typed = True
    if not more:
        break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
