"""What a web site is asked for, and by which browsers: texts of the access-log producer.

The pages are those of the original's generator; its cart has a number in its query. The probes are
what scanners ask for.
"""

from __future__ import annotations

from itertools import product

_CARTS = 250
PAGES = (
    "/list",
    "/wp-content",
    "/wp-admin",
    "/explore",
    "/search/tag/list",
    "/app/main/posts",
    "/posts/posts/explore",
    *(f"/apps/cart.jsp?appID={number}" for number in range(1000, 10_000, 9_000 // _CARTS)),
)
PAGE_SHARES = (*[1 / 8] * 7, *[1 / 8 / _CARTS] * _CARTS)
"""How often each page is asked for: the original's eight alike, the cart under many numbers."""

METHODS = ("GET", "POST", "DELETE", "PUT")
METHOD_SHARES = (0.6, 0.1, 0.1, 0.2)

BROWSERS = (
    *(
        f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{version}.0.0.0 Safari/537.36"
        for system, version in product(
            (
                "Windows NT 10.0; Win64; x64",
                "Macintosh; Intel Mac OS X 10_15_7",
                "X11; Linux x86_64",
            ),
            range(138, 144),
        )
    ),
    *(
        f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
        for system, version in product(
            ("Windows NT 10.0; Win64; x64", "X11; Ubuntu; Linux x86_64", "Android 15; Mobile"),
            range(140, 144),
        )
    ),
    *(
        f"Mozilla/5.0 (iPhone; CPU iPhone OS {major}_{minor} like Mac OS X) AppleWebKit/605.1.15 "
        f"(KHTML, like Gecko) Version/{major}.{minor} Mobile/15E148 Safari/604.1"
        for major, minor in product((17, 18, 26), (0, 1, 2))
    ),
)
AGENTS = (
    *BROWSERS,
    "python-requests/2.32.3",
    "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:map_codes)",
)
FLOODER, SCANNER = len(BROWSERS), len(BROWSERS) + 1
"""Where the agents of a flood and of a scan stand in `AGENTS`."""

_FOLDERS = ("", "/admin", "/backup", "/old", "/test", "/dev", "/api", "/api/v1", "/cgi-bin", "/db")
_FILES = (
    ".env", ".git/config", ".aws/credentials", "wp-login.php", "xmlrpc.php", "phpinfo.php",
    "phpmyadmin/", "config.php", "config.yml", "database.sql", "dump.sql.gz", "id_rsa",
    "server-status", "actuator/env", "console", "manager/html", "setup.php", "install.php",
    "shell.php", "login.action", "web.config", "robots.txt.bak", "backup.zip", "site.tar.gz",
    "debug.log", "error_log", "composer.json", "package.json", "swagger.json", "graphql",
)  # fmt: skip
PROBES = tuple(f"{folder}/{file}" for file, folder in product(_FILES, _FOLDERS))
