#!/bin/bash
# Holds a cluster: runs the command it is given and, once that has ended, removes what outlives processes.
# stdin and stdout belong to the command. stderr is the open state directory: its lock is held as long as
# any process has it open, which is how others know that the cluster lives.
exec 8>&2 2>>"$WORK/log/hold.log"
# Not ignored, which programs and containers would inherit.
trap : INT HUP TERM
"$@"
exec bash "$WORK/scripts/clear.sh"
