#!/bin/bash
# Process 1 in the namespaces of a node: gives it file systems and a network of its own, then runs its
# programs as launch.sh does. When this shell ends, the kernel ends everything in the namespaces: programs,
# containers, mounts, pod networks.
# $NODE_ADDRESS: its side of the link to the caller.
set -e

# Mount propagation works for pods, and nothing leaks out.
mount --make-rshared /
# Paths that are fixed in kubelet, CNI and iptables (/run/netns, /run/xtables.lock, /run/containerd,
# /var/log/containers, /var/lib/kubelet/device-plugins, /var/lib/cni).
for directory in /run /var/log /var/lib; do
  mount -t tmpfs -o mode=755 tmpfs "$directory"
done
mkdir -p /run/netns /run/lock

# Kubelet sets these for the whole machine: it finds what it wants in files that cover them.
mkdir -p "$WORK/sys"
while read -r setting value; do
  [[ -e /proc/sys/$setting ]] || continue
  cover=$WORK/sys/${setting//\//_}
  echo "$value" >"$cover"
  mount --bind "$cover" "/proc/sys/$setting"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# The caller has put node0 into this network namespace once it writes a line.
read -r _
ip link set lo up
ip address add "$NODE_ADDRESS/30" dev node0
ip link set node0 up
# Without a route, connect() to a Service fails before the rules of kube-proxy see it.
ip route add 10.96.0.0/16 dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
# The caller knows no way back to pods.
iptables -w -t nat -A POSTROUTING -s 10.244.0.0/24 ! -d 10.244.0.0/24 -o node0 -j MASQUERADE
echo ok

set +e
# shellcheck source=launch.sh
. "$WORK/scripts/launch.sh"
