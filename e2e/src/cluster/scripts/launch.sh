#!/bin/bash
# Starts and stops the programs of a cluster. Commands come on stdin, a line each:
#   run NAME      starts $WORK/run/NAME.sh in the background, output to $WORK/log/NAME.log
#   stop NAME     kills it and waits for its end
#   running NAME  asks whether it still runs
#   keep          lets the cluster outlive the process that started it
# Each is answered by one line on stdout: ok, or what is wrong. The end of stdin, which comes with the
# death of the process that writes it, ends every program.
declare -A pids

stop_all() {
  ((${#pids[@]})) && kill -KILL "${pids[@]}" 2>/dev/null
  wait
}

kept=
while [[ -z $kept ]] && read -r verb name; do
  if [[ $verb != run && $verb != keep && -z ${pids[$name]} ]]; then
    echo "not started"
    continue
  fi
  case $verb in
    run)
      # setpriv: the program also ends when this shell is killed. env: the shell has its background jobs
      # ignore signals, and containers would inherit that.
      setpriv --pdeathsig KILL env --default-signal bash "$WORK/run/$name.sh" \
        >>"$WORK/log/$name.log" 2>&1 </dev/null 8>&- &
      pids[$name]=$!
      echo ok
      ;;
    stop)
      kill -KILL "${pids[$name]}" && wait "${pids[$name]}"
      unset "pids[$name]"
      echo ok
      ;;
    running)
      if kill -0 "${pids[$name]}"; then echo ok; else echo "ended"; fi
      ;;
    keep)
      kept=yes
      echo ok
      ;;
    *) echo "unknown command: $verb" ;;
  esac
done 2>/dev/null
if [[ -n $kept ]]; then
  exec </dev/null >/dev/null
  wait
fi
stop_all
