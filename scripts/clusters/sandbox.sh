#!/bin/sh
# The first process of a cluster's namespaces (network, mounts, processes), started by sandbox.ts. Whatever the cluster
# starts lives in them, so when this process ends, the kernel ends all of it: processes, containers, mounts, interfaces.
# usage: sandbox.sh ID STATE-DIRECTORY BUILDS-DIRECTORY
set -eu
state=$2 builds=$3

# The node's programs have fixed ideas of where to write. Here those places are the cluster's own, and /run starts empty.
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/isthmus /run/kubernetes /run/lock "$state/lib" "$state/log/pods"
mount --bind "$state" /run/isthmus
mount --bind "$builds" /run/kubernetes
mount --bind /run/isthmus/lib /var/lib
mount --bind /run/isthmus/log /var/log
# Addresses of pods die with their network namespaces, so what was noted of them is void in a new sandbox.
mkdir -p /var/lib/cni
mount -t tmpfs -o mode=755 cni /var/lib/cni

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
# Without this, a pod's answer to a pod of the same node goes past the Service's address translation.
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
fi

trap '' HUP INT TERM
: >/run/sandbox-ready
# `wait` also reaps what has lost its parent, which only a first process can.
while :; do
  sleep 2147483647 &
  wait
done
