#!/bin/bash
# Removes what outlives the processes of the cluster in $WORK, and $WORK last: as long as it is there, the
# next start finds what is left and tries again. Harmless when run twice.
# $CGROUPS: its control groups, one path a word. $LINK_NAME: its network link on this side.
[[ -n $WORK ]] || exit 1

if [[ -n $LINK_NAME && -e /sys/class/net/$LINK_NAME ]]; then
  ip link delete "$LINK_NAME" 2>/dev/null
fi
# The kernel empties the groups of killed processes a moment later.
for _ in {1..50}; do
  left=
  for group in $CGROUPS; do
    [[ -d $group ]] || continue
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    [[ -d $group ]] && left=yes
  done
  [[ -z $left ]] && break
  sleep 0.1
done
if [[ -n $left ]]; then
  echo "processes are left in $CGROUPS" >&2
  exit 1
fi
rm -rf --one-file-system "$WORK"
rmdir --ignore-fail-on-non-empty "${WORK%/*}" 2>/dev/null
exit 0
