#!/bin/sh
# Records and the ledger stay on removal; `apt purge` removes them.
set -e
if [ "$1" = purge ]; then
    rm -rf /var/lib/tracer /var/log/tracer
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
