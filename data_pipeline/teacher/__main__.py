"""`python -m data_pipeline.teacher`."""

import sys

from data_pipeline.teacher.run import main

if __name__ == "__main__":
    sys.exit(main())
