"""`python -m headstart`."""

import sys

from headstart.upkeep.warm import hand_over

code = hand_over(sys.argv[1:])
if code is None:
    from headstart.cli import main

    main()
else:
    sys.exit(code)
