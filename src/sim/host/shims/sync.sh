#!/bin/sh
# A simulated host does not outlive its process; waiting for the disk would only cost time.
if [ -f "${PROXYFLEET_ROOT:?names no simulated host}/.sim/reboot-after" ]; then
    # A moment at which a reboot may come, as every call of a shim.
    # shellcheck source-path=SCRIPTDIR source=common.sh
    . "${0%/*}/../library/common.sh"
fi
exit 0
