#!/bin/sh
# The service is not enabled on install: it records the connections of all users. An upgrade restarts it if it runs.
set -e
if [ -d /run/systemd/system ]; then
    # A service manager that does not answer is no reason to leave a package half installed.
    systemctl daemon-reload || true
    systemctl try-restart tracer.service || true
fi
