"""`python -m headstart`."""

import sys

from headstart.maintenance.fork_server import hand_over

# Processes that a job may start with `multiprocessing` import this module and must not run the job again.
if __name__ == "__main__":
    code = hand_over(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from headstart.cli import main

    main()
