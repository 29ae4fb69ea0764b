#!/usr/bin/env bash
# A Debian that has never seen the sources: root.sh SUITE DIRECTORY unpacks the smallest root of a suite (bookworm, trixie)
# there. It is bootstrapped once and kept as an archive.
source "$(dirname "$0")/common.sh"

suite=$1
directory=$2
archive=$WORK/roots/$suite.tar
[ "$(id -u)" = 0 ] || die "a Debian root can be made by root only"
if [ ! -f "$archive" ]; then
  install_missing debootstrap
  say "bootstrapping Debian $suite"
  mkdir -p "$WORK/roots"
  new=$(mktemp -d "$WORK/roots/$suite.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  debootstrap --variant=minbase "$suite" "$new/root" > "$new/log" 2>&1 || { tail -20 "$new/log" >&2; die "debootstrap of $suite failed"; }
  chroot "$new/root" apt-get clean
  # Packages of PostgreSQL make no cluster by themselves, and nothing is started in a root.
  mkdir -p "$new/root/etc/postgresql-common/createcluster.d"
  echo 'create_main_cluster = false' > "$new/root/etc/postgresql-common/createcluster.d/qbo_raw.conf"
  printf '#!/bin/sh\nexit 101\n' > "$new/root/usr/sbin/policy-rc.d"
  chmod 755 "$new/root/usr/sbin/policy-rc.d"
  tar -C "$new/root" -cf "$new/tar" .
  mv "$new/tar" "$archive"
fi
mkdir -p "$directory"
tar -C "$directory" -xf "$archive"
