#!/bin/sh
# The first process in the namespaces of an engine: makes the folder $1 its root, waits for the network, runs dockerd.
# When it ends, everything that it has started ends with it.
set -eu
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cd "$root"
# A chroot is not enough: Docker changes the flags of the root's mount when it imports an image.
pivot_root . mnt
umount --lazy /mnt
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root
ip link set lo up
until ip route show default | grep -q .; do sleep 0.1; done
dockerd --cgroup-parent=/aigen-compose >/var/log/dockerd.log 2>&1 &
dockerd=$!
trap 'kill $dockerd' TERM
until wait $dockerd; [ ! -d /proc/$dockerd ]; do :; done
