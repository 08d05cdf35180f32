#!/bin/sh
# Stop and disable the service on removal ("remove" of dpkg, 0 of rpm), not on upgrade.
set -e
case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now --quiet tracer.service || true
    fi
    ;;
esac
