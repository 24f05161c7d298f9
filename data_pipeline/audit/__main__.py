"""`python -m data_pipeline.audit`."""

import sys

from data_pipeline.audit.run import main

if __name__ == "__main__":
    sys.exit(main())
