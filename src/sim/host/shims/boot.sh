#!/bin/sh
# What a start of the machine does to a simulated host: what does not outlive a boot is gone, and both services, which are
# enabled, start with what the files say now. Only the simulation calls it; every process of the host has ended before.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "${0%/*}/common.sh"

# Sets $docker_starts and $ecs_starts.
read_starts() {
    read -r docker_starts <"$sim/count/docker.starts"
    read -r ecs_starts <"$sim/count/ecs.starts"
}

rm -rf "$root"/proc/[0-9]* "$root"/run/* "$root"/var/run/*
mkdir -p "$root/run/lock"
put_state docker inactive 0
put_state ecs inactive 0
read -r reloads <"$sim/count/daemon-reloads"
read_starts
docker_before=$docker_starts ecs_before=$ecs_starts
if [ "$systemd" -gt 0 ]; then
    # systemd reads all of its files at a boot, but nobody told it to.
    systemctl daemon-reload
    printf '%s\n' "$reloads" >"$sim/count/daemon-reloads"
    systemctl start docker
    [ ! -e "$sim/loaded/ecs.env" ] || systemctl start ecs
else
    service docker start
    [ ! -e "$root/etc/init/ecs.conf" ] || initctl start ecs
fi >/dev/null 2>&1
read_starts
count docker.boots "$((docker_starts - docker_before))"
count ecs.boots "$((ecs_starts - ecs_before))"
