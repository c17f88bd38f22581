#!/bin/sh
# service where systemd runs: hands over to systemctl.
printf 'Redirecting to /bin/systemctl %s %s.service\n' "${2-}" "${1-}" >&2
exec "${0%/*}/systemctl" "${2-}" "${1-}.service"
