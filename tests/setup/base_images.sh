#!/usr/bin/env bash
# The base images of docker/Dockerfile: base_images.sh VERSION [RUST]. Pulled where that is possible; else stand-ins are
# made under the official names: a Debian root with this machine's Rust, and one with Debian's PostgreSQL, the official
# image's user, folders and variables, and an entrypoint that keeps its promises.
source "$(dirname "$0")/common.sh"

version=$1
rust=rust:${2:-1.95}-slim-bookworm
docker=${DOCKER:-docker}
have() { "$docker" image inspect "$1" >/dev/null 2>&1 || timeout 60 "$docker" pull -q "$1" >/dev/null 2>&1; }

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
# base SUITE PACKAGE...: a root with packages and with the certificate authorities that this machine trusts beside the usual.
base() {
  local suite=$1
  shift
  mkdir -p "$WORK"
  work=$(mktemp -d "$WORK/image.XXXXXX")
  "$ROOT/tests/setup/root.sh" "$suite" "$work/root"
  mkdir -p "$work/root/usr/local/share/ca-certificates"
  cp /usr/local/share/ca-certificates/*.crt "$work/root/usr/local/share/ca-certificates/" 2>/dev/null || true
  chroot "$work/root" groupadd -r postgres --gid=999
  chroot "$work/root" useradd -r -g postgres --uid=999 --home-dir=/var/lib/postgresql --shell=/bin/bash postgres
  chroot "$work/root" sh -c 'apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin' sh "$@" > "$work/log" 2>&1 || { tail -20 "$work/log" >&2; die "$* cannot be installed in Debian $suite"; }
}
# import NAME CHANGE...: the root becomes the image.
import() {
  local name=$1 changes=() change
  shift
  for change in "$@"; do changes+=(--change "$change"); done
  tar -C "$work/root" -c . | "$docker" import "${changes[@]}" - "$name" >/dev/null
  rm -rf "$work"
  work=
}

if ! have "$rust"; then
  say "no image can be pulled: making a stand-in for $rust"
  toolchain=$(rustc --print sysroot)
  base bookworm gcc libc6-dev ca-certificates
  mkdir -p "$work/root/usr/local/cargo/bin" "$work/root/usr/local/rustup/toolchains"
  cp -a "$toolchain" "$work/root/usr/local/rustup/"
  rm -rf "$work/root/usr/local/rustup/$(basename "$toolchain")/share"
  # A toolchain needs no rustup: its programs find their library beside themselves.
  for program in cargo rustc; do
    ln -s "/usr/local/rustup/$(basename "$toolchain")/bin/$program" "$work/root/usr/local/cargo/bin/$program"
  done
  import "$rust" 'ENV RUSTUP_HOME=/usr/local/rustup' 'ENV CARGO_HOME=/usr/local/cargo' \
    'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' 'CMD ["bash"]'
fi

if ! have "postgres:$version"; then
  case $version in
    15) suite=bookworm ;;
    17) suite=trixie ;;
    *) die "postgres:$version cannot be pulled, and no Debian has PostgreSQL $version for a stand-in" ;;
  esac
  say "no image can be pulled: making a stand-in for postgres:$version"
  base "$suite" "postgresql-$version" gosu
  root=$work/root
  install -m 755 "$ROOT/tests/setup/postgres_entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
  install -d "$root/docker-entrypoint-initdb.d"
  chroot "$root" sh -c "
    install -d -o postgres -g postgres -m 3777 /var/run/postgresql
    install -d -o postgres -g postgres -m 1777 /var/lib/postgresql /var/lib/postgresql/data
    mv /usr/share/postgresql/$version/postgresql.conf.sample /usr/share/postgresql/
    ln -s ../postgresql.conf.sample /usr/share/postgresql/$version/
    sed -i \"s/^#listen_addresses = .*/listen_addresses = '*'/\" /usr/share/postgresql/postgresql.conf.sample"
  import "postgres:$version" "ENV PG_MAJOR=$version" 'ENV LANG=C.UTF-8' 'ENV PGDATA=/var/lib/postgresql/data' \
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$version/bin" \
    'VOLUME /var/lib/postgresql/data' 'ENTRYPOINT ["docker-entrypoint.sh"]' 'EXPOSE 5432' 'CMD ["postgres"]'
fi
