"""`python -m framepace` is `framepace`."""

from __future__ import annotations

from framepace.cli.main import main

if __name__ == "__main__":
    main()
