#!/bin/sh
# Installs what the tests marked kafka, prometheus and chromium need, where it is missing.
# For CI: Debian, as root. Safe to run again.
set -eu

need() { # need COMMAND PACKAGE...: the packages, unless the command is there
    command -v "$1" >/dev/null 2>&1 && return
    shift
    packages="$packages $*"
}

packages=
need java openjdk-17-jre-headless
need mvn maven
need prometheus prometheus
need promtool prometheus
need prometheus-alertmanager prometheus-alertmanager
need chromium chromium
[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || packages="$packages fonts-dejavu-core"
[ -n "$packages" ] || exit 0

# No service is started by its package: the tests start their own on free ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086  # a list of words
if ! { apt-get -q update && apt-get -q -y --no-install-recommends install $packages; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi
rm -f "$log"
