# shellcheck shell=sh
# Runs as the first process of a pod's own network, mount and process namespaces; everything ends with it.
# Arguments: the agent's binary, Envoy's binary (or nothing).
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/pod
# Bound, so that the proxy's user can run them wherever the source tree and the cache lie.
for program in "$@"; do
  bound=/run/pod/$(basename "$program")
  touch "$bound"
  mount --bind "$program" "$bound"
done
install -d -o 1337 -g 1337 /run/pod/proxy
ip link set lo up
echo ready
# Ends when the test's end of the pipe closes, however the test ends.
exec cat >/dev/null
