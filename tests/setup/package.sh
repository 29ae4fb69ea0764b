#!/usr/bin/env bash
# Packages of the version in Cargo.toml, in target/package: a .deb and an archive of the built files for each PostgreSQL
# version, the source as a tarball, and the archive that PGXN takes.
#   package.sh [VERSION...]    PostgreSQL versions; default 15 16 17 18
# REVISION is the last part of the .deb's version, 1 when it is not set; OUT another directory.
source "$(dirname "$0")/common.sh"
cd "$ROOT"

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(15 16 17 18)
revision=${REVISION:-1}
out=${OUT:-$ROOT/target/package}
arch=$(dpkg --print-architecture)
# All times in the packages are that of the commit, so that the same sources give the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)
export SOURCE_DATE_EPOCH

"$ROOT/tests/setup/packages.sh"
install_missing zip binutils
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$work" "$@"; }

# The newest version of the C library that a library asks for.
libc_of() { objdump -T "$1" | sed -n 's/.*(\?GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -1; }

# debian VERSION STAGE: the .deb, in Debian's layout.
debian() {
  local name=postgresql-$1-qbo-raw root=$work/deb-$1 size
  mkdir -p "$root/DEBIAN" "$root/usr/lib/postgresql/$1" "$root/usr/share/postgresql/$1" "$root/usr/share/doc/$name"
  cp -r "$2/lib" "$root/usr/lib/postgresql/$1/"
  cp -r "$2/extension" "$root/usr/share/postgresql/$1/"
  cp README.md "$root/usr/share/doc/$name/"
  gzip -9n < CHANGELOG.md > "$root/usr/share/doc/$name/changelog.gz"
  cat > "$root/usr/share/doc/$name/copyright" <<COPYRIGHT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: qbo_raw

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE)
License: PostgreSQL
$(sed -n '/^Permission/,$ { s/^$/./; s/^/ /; p }' LICENSE)
COPYRIGHT
  chmod 644 "$root/usr/lib/postgresql/$1/lib/qbo_raw.so"
  size=$(du -ks --exclude=DEBIAN "$root" | cut -f1)
  cat > "$root/DEBIAN/control" <<CONTROL
Package: $name
Source: qbo-raw
Version: $VERSION-$revision
Architecture: $arch
Maintainer: the qbo_raw developers <qbo_raw@localhost>
Installed-Size: $size
Depends: postgresql-$1, libc6 (>= $(libc_of "$2/lib/qbo_raw.so")), libgcc-s1, ca-certificates
Recommends: postgresql-$1-cron
Section: database
Priority: optional
Description: QuickBooks Online into PostgreSQL $1, from inside the database
 Background workers of the server extract the records of QuickBooks Online into
 tables, window by window and page by page, each window with a report row in the
 same transaction. CREATE EXTENSION qbo_raw is all there is to set up: no restart
 and no entry in shared_preload_libraries is needed.
CONTROL
  (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
  find "$root" -type d -exec chmod 755 {} +
  find "$root" -type f -exec chmod u=rw,go=r {} +
  dpkg-deb --root-owner-group -Zxz --build "$root" "$out/${name}_$VERSION-${revision}_$arch.deb" >/dev/null
}

for version in "${versions[@]}"; do
  "$ROOT/tests/setup/tree.sh" "$version"
  stage=$work/qbo_raw-$VERSION-pg$version
  "$ROOT/tests/setup/extension.sh" "$(pg_config_of "$version")" "$stage"
  cp README.md LICENSE "$stage/"
  debian "$version" "$stage"
  archive -czf "$out/qbo_raw-$VERSION-pg$version-$(uname -m).tar.gz" "qbo_raw-$VERSION-pg$version"
done

say "archives of the source"
status=stable
case $VERSION in 0.*) status=testing ;; *-*) status=unstable ;; esac
source=$work/qbo_raw-$VERSION
mkdir "$source"
git ls-files -z | xargs -0 cp --parents -t "$source"
sed "s/@VERSION@/$VERSION/; s/@STATUS@/$status/" META.json.in > "$source/META.json"
python3 -m json.tool "$source/META.json" >/dev/null
archive -czf "$out/qbo_raw-$VERSION.tar.gz" "qbo_raw-$VERSION"
find "$source" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
rm -f "$out/qbo_raw-$VERSION.zip"
(cd "$work" && find "qbo_raw-$VERSION" -print | LC_ALL=C sort | TZ=UTC zip -q -X "$out/qbo_raw-$VERSION.zip" -@)
(cd "$out" && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum > SHA256SUMS && ls -lh)
