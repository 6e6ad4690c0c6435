"""`python -m gradlogp` is the command `gradlogp`."""

import sys

from gradlogp.cli import main

sys.exit(main())
