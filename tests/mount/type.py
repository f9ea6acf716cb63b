"""Types into a program on a terminal of its own: type.py [AWAIT KEYS]... -- PROGRAM ARGUMENT...

Keys are sent when the program has shown AWAIT, after what was awaited before: what is typed before a program is ready
for it, it may throw away. Ends as the program ends.
"""

import os
import pty
import sys

end = sys.argv.index("--")
words = [os.fsencode(word) for word in sys.argv[1:end]]
steps = list(zip(words[::2], words[1::2]))
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
shown = b""
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:  # The program has closed its end.
        break
    if not more:
        break
    shown += more
    while steps and steps[0][0] in shown:
        awaited, keys = steps.pop(0)
        shown = shown.split(awaited, 1)[1]
        os.write(terminal, keys)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
