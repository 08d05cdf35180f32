#!/bin/sh
# Before the files go away for good; not before an upgrade ("upgrade" of dpkg, 1 of rpm).
set -e
if [ "$1" = upgrade ] || [ "$1" = 1 ]; then
    exit 0
fi
if [ -d /run/systemd/system ]; then
    systemctl disable --now --quiet tracer.service
fi
