"""What nobody asks of a site who follows its links: files that attackers look for.

Pages of common software, such as /wp-admin, aren't here: on a site that runs it they are honest.
"""

HONEYPOTS = (
    "/.env",
    "/.git/config",
    "/.aws/credentials",
    "/.ssh/id_rsa",
    "/backup.sql",
    "/config.php.bak",
    "/etc/passwd",
    "/phpmyadmin/",
    "/phpMyAdmin/",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
)
