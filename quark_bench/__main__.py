"""`python -m quark_bench` is `quark-bench`."""

from quark_bench.cli import main

if __name__ == "__main__":
    main()
