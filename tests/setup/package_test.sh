#!/usr/bin/env bash
# Tests the .deb as a DBA meets it: in a Debian that has never seen the sources it is installed, the extension created, a
# run done against the simulator, the package upgraded under the running server, removed, installed again and purged.
#   package_test.sh [VERSION...]   15 (Debian 12) and 17 (Debian 13), which have the server; default both
source "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || die "a Debian root can be made by root only"
cd "$ROOT"

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(15 17)
mkdir -p "$WORK"
work=$(mktemp -d "$WORK/package_test.XXXXXX")
simulator=
cleanup() { [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
OUT=$work/deb "$ROOT/tests/setup/package.sh" "${versions[@]}" >/dev/null
NEXT=${VERSION%.*}.$((${VERSION##*.} + 1))

# next_release PACKAGE: one as the next release will be: a new version, a new function, and the script that leads to it.
next_release() {
  local deb=$work/next share
  rm -rf "$deb"
  dpkg-deb -R "$work/deb/${1}_$VERSION-1_"*.deb "$deb"
  share=$(dirname "$deb"/usr/share/postgresql/*/extension/qbo_raw.control)
  echo "CREATE FUNCTION raw.qb_next() RETURNS text LANGUAGE sql SET search_path = pg_catalog, pg_temp RETURN 'new';" \
    > "$share/qbo_raw--$VERSION--$NEXT.sql"
  cat "$share/qbo_raw--$VERSION.sql" "$share/qbo_raw--$VERSION--$NEXT.sql" > "$share/qbo_raw--$NEXT.sql"
  rm "$share/qbo_raw--$VERSION.sql"
  sed -i "s/^default_version = .*/default_version = '$NEXT'/" "$share/qbo_raw.control"
  sed -i "s/^Version: .*/Version: $NEXT-1/" "$deb/DEBIAN/control"
  dpkg-deb --root-owner-group --build "$deb" "$work/deb/${1}_$NEXT-1_next.deb" >/dev/null
}
cargo build --release --quiet --package qbo_sim
PORT=8127
target/release/qbo_sim --port $PORT --invoices 900 --refresh-token RT-package > "$work/simulator.log" 2>&1 < /dev/null &
simulator=$!
for _ in $(seq 50); do grep -q 'Ctrl-C' "$work/simulator.log" && break; sleep 0.1; done

# What is done in the root, as root of it. Ends with the first thing that is not as it must be.
inside() {
  cat <<'INSIDE'
set -euo pipefail
NN=$1 VERSION=$2 NEXT=$3 PORT=$4
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 LOGLEVEL=warning
package=postgresql-$NN-qbo-raw
sql() { (cd / && runuser -u postgres -- psql -h /var/run/postgresql -p 5499 -XAtq -v ON_ERROR_STOP=1 -d "${DB:-books}" -c "$1"); }
is() { if [ "$2" = "$3" ]; then echo "ok      $1"; else echo "not ok  $1: '$2' is not '$3'"; exit 1; fi; }
installed() { dpkg-query -W -f='${db:Status-Status} ${Version}' "$package" 2>/dev/null || echo no; }
backfill() { sql "CALL raw.qb_wait(raw.qb_backfill('$1', '2025-07-01', '2025-09-30'))" 2>&1 | tail -1 | sed 's/, [0-9.]* s$//; s/.* \(success\|failed\)/\1/'; }

apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends "/deb/${package}_$VERSION-1_"*.deb >/dev/null 2>&1
is "installed, with the server it depends on" "$(installed)" "installed $VERSION-1"
is "nothing was compiled: no compiler is there" "$(command -v cc cargo clang || echo none)" none
is "every file is root's and nobody else may write it" "$(dpkg -L "$package" | xargs -d '\n' stat -c '%U %A' | grep -vc '^root .....-..-.$')" 0

pg_createcluster "$NN" main -p 5499 -- -E UTF8 >/dev/null
echo "listen_addresses = ''" >> "/etc/postgresql/$NN/main/postgresql.conf"
pg_ctlcluster "$NN" main start
DB=postgres sql "CREATE DATABASE books"
is "it is on offer" "$(sql "SELECT default_version FROM pg_available_extensions WHERE name = 'qbo_raw'")" "$VERSION"
sql "CREATE EXTENSION qbo_raw"
is "no preload was needed" "$(sql "SHOW shared_preload_libraries")" ""
sql "LOAD 'qbo_raw'; ALTER DATABASE books SET qbo_raw.api_base_url = 'http://127.0.0.1:$PORT';
     ALTER DATABASE books SET qbo_raw.oauth_base_url = 'http://127.0.0.1:$PORT';
     ALTER DATABASE books SET qbo_raw.requests_per_second = 100;
     ALTER DATABASE books SET qbo_raw.requests_per_minute = 6000"
sql "SELECT raw.qb_connect('4620816365002384750', 'ABsimulatedClientId', 'simulatedClientSecret0123456789', 'RT-package')" >/dev/null
backfill invoices >/dev/null
is "a run filled the table" "$(sql "SELECT count(*), (SELECT status FROM raw.qb_run) FROM raw.qb_invoices")" "900|success"

# A session that has the old library loaded stays, as an application's would.
exec 3> >(cd / && runuser -u postgres -- psql -h /var/run/postgresql -p 5499 -XAtq -d books > /tmp/old 2>&1)
echo "SELECT count(*) FROM raw.qb_entities;" >&3
apt-get install -y -q --no-install-recommends "/deb/${package}_$NEXT-1_"*.deb >/dev/null 2>&1
is "upgraded under the running server" "$(installed)" "installed $NEXT-1"
backfill items >/dev/null
is "the old extension works with the new library" "$(sql "SELECT count(*) FROM raw.qb_items")" 40
sql "ALTER EXTENSION qbo_raw UPDATE"
is "the extension is updated" "$(sql "SELECT extversion, raw.qb_next() FROM pg_extension WHERE extname = 'qbo_raw'")" "$NEXT|new"
is "the data stayed" "$(sql "SELECT count(*) FROM raw.qb_invoices")" 900
backfill customers >/dev/null
is "a run works after the upgrade, without a restart" "$(sql "SELECT count(*) FROM raw.qb_customers")" 60
echo "SELECT count(*) FROM raw.qb_entities;" >&3
exec 3>&-
wait
is "so does the session with the old library" "$(sort -u /tmp/old | wc -l) $(wc -l < /tmp/old)" "1 2"

sql "DROP EXTENSION qbo_raw"
apt-get remove -y -q "$package" >/dev/null 2>&1
pg_ctlcluster "$NN" main restart
is "removed" "$(sql "SELECT count(*) FROM pg_available_extensions WHERE name = 'qbo_raw'")" 0
is "the data is readable without it" "$(sql "SELECT count(*), count(payload ->> 'TotalAmt') FROM raw.qb_invoices")" "900|900"
apt-get install -y -q --no-install-recommends "/deb/${package}_$NEXT-1_"*.deb >/dev/null 2>&1
sql "CREATE EXTENSION qbo_raw"
is "installed again, it finds its tables" "$(sql "SELECT count(*) FROM raw.qb_invoices; SELECT count(*) FROM raw.qb_config" | paste -sd' ')" "900 0"
sql "SELECT raw.qb_connect('4620816365002384750', 'ABsimulatedClientId', 'simulatedClientSecret0123456789', 'RT-package')" >/dev/null
backfill invoices >/dev/null
is "and goes on: nothing is written twice" "$(sql "SELECT status, skipped_count FROM raw.qb_run ORDER BY run_id DESC LIMIT 1")" "success|900"
apt-get purge -y -q "$package" >/dev/null 2>&1
is "purged, no file is left" "$(find / -xdev \( -path /proc -o -path /deb \) -prune -o -name '*qbo*raw*' ! -path '/var/lib/postgresql/*' ! -path '/etc/postgresql-common/*' -print)" ""
pg_ctlcluster "$NN" main stop
INSIDE
}

passed=0 failed=0
for version in "${versions[@]}"; do
  case $version in 15) suite=bookworm ;; 17) suite=trixie ;; *) die "no Debian has PostgreSQL $version" ;; esac
  say "postgresql-$version-qbo-raw $VERSION on Debian $suite"
  root=$work/$suite
  "$ROOT/tests/setup/root.sh" "$suite" "$root"
  mkdir "$root/deb"
  next_release "postgresql-$version-qbo-raw"
  cp "$work/deb/postgresql-$version-qbo-raw_"*.deb "$root/deb/"
  inside > "$root/inside"
  # In a process namespace of its own: whatever was started in the root ends with the script.
  unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" bash /inside "$version" "$VERSION" "$NEXT" "$PORT" \
    < /dev/null 2> "$work/errors" | tee "$work/lines" || { tail -20 "$work/errors"; failed=$((failed + 1)); }
  passed=$((passed + $(grep -c '^ok' "$work/lines")))
done
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
