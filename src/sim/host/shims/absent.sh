#!/bin/sh
# Stands in for a program that this platform does not have, so that the machine's own is not reached.
printf '%s: command not found\n' "${0##*/}" >&2
exit 127
