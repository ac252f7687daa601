#!/bin/sh
# Installs the fleetfit device agent as a service on Debian, Raspberry Pi OS, or Ubuntu (also as JetPack 6).
set -eu

usage() {
    cat <<'USAGE'
usage: sudo sh install.sh [--package SPEC] [--runtime onnx|litert|tflite|none]
                          [--join ADDRESS --ca-hash HASH [--name NAME]]

  --package SPEC   what pip installs: a version, a wheel or a folder (default: fleetfit)
  --runtime R      the runtime that comes with it (default: onnx; 32-bit Raspberry Pi OS: tflite)
  --join ADDRESS   join a fleet at once; the token is read from standard input

example:
  echo TOKEN | sudo sh install.sh --join fleet.lan:7443 --ca-hash sha256:...
USAGE
}

fail() {
    echo "error: $1" >&2
    echo "hint: ${2:-sh install.sh --help}" >&2
    exit 2
}

package=fleetfit runtime=onnx address='' ca_hash='' name=''
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        --package | --runtime | --join | --ca-hash | --name)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case "$1" in
                --package) package=$2 ;;
                --runtime) runtime=$2 ;;
                --join) address=$2 ;;
                --ca-hash) ca_hash=$2 ;;
                --name) name=$2 ;;
            esac
            shift 2
            ;;
        *) fail "unknown option '$1'" ;;
    esac
done
case "$runtime" in onnx | litert | tflite | none) ;; *) fail "there is no runtime '$runtime'" ;; esac
[ -z "$address" ] || [ -n "$ca_hash" ] || fail "--join needs --ca-hash"
[ "$(id -u)" = 0 ] || fail "this needs root" "run it with sudo"
[ -d /run/systemd/system ] || fail "this machine is not run by systemd" "run 'fleetfit-agent run' in another way"

here=$(cd "$(dirname "$0")" && pwd)
home=/opt/fleetfit-agent
state=/var/lib/fleetfit-agent
user=fleetfit-agent

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "Python 3.10 or newer is needed" "upgrade the operating system"
python3 -c 'import ensurepip, venv' 2>/dev/null || apt-get install --yes --no-install-recommends python3-venv

if ! id "$user" >/dev/null 2>&1; then
    useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$user"
fi
# Energy meters and accelerators belong to these groups; which of them there are depends on the board.
for group in video render i2c gpio; do
    if getent group "$group" >/dev/null; then usermod --append --groups "$group" "$user"; fi
done

[ "$runtime" != tflite ] || apt-get install --yes --no-install-recommends python3-numpy
sh "$here/environment.sh" "$home" "$package" "$runtime"

install -d -m 0711 -o "$user" -g "$user" "$state"
install -m 0644 "$here/fleetfit-agent.service" /etc/systemd/system/fleetfit-agent.service
install -m 0644 "$here/fleetfit-agent.conf" /etc/tmpfiles.d/fleetfit-agent.conf
systemd-tmpfiles --create /etc/tmpfiles.d/fleetfit-agent.conf
systemctl daemon-reload
systemctl enable --quiet fleetfit-agent.service

if [ -n "$address" ]; then
    # The service must not hold the state directory while this joins.
    systemctl stop fleetfit-agent.service
    cd "$state"
    runuser -u "$user" -- "$home/bin/fleetfit-agent" join "$address" --token - --ca-hash "$ca_hash" \
        --name "$name" --state-dir "$state" --no-run
fi
if [ -e "$state/identity/identity.json" ]; then
    systemctl restart fleetfit-agent.service
    echo "The agent runs. Next: systemctl status fleetfit-agent"
else
    echo "The agent is installed and waits for this machine to join a fleet. Next: sh install.sh --join ADDRESS --ca-hash HASH"
fi
