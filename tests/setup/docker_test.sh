#!/usr/bin/env bash
# Builds the image and lives with it: compose with the demo's profile, tables filled by the real pg_cron, a restart in
# mid-run, no secret to be seen, a stop within three seconds, the data kept by its volume.
#   docker_test.sh [VERSION]    PostgreSQL version; default PG_MAJOR, or 15
# It uses the Docker engine that answers; else it starts one of its own and ends it.
source "$(dirname "$0")/common.sh"
cd "$ROOT"

export PG_MAJOR=${1:-${PG_MAJOR:-15}} DOCKER_BUILDKIT=1 QBO_PORT=55432 SIMULATOR_LATENCY_MS=150
run=qbo_raw_test
work=
engine=
docker() { command "$DOCKER" "$@"; }
compose() { (cd "$ROOT/docker" && "${COMPOSE[@]}" -p $run "$@"); }
cleanup() {
  if [ -n "${COMPOSE[*]:-}" ]; then compose --profile demo down -v -t 5 >/dev/null 2>&1 || true; fi
  docker rm -fv $run-alone >/dev/null 2>&1 || true
  if [ -n "$engine" ]; then kill "$engine"; wait "$engine" 2>/dev/null || true; fi
  [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT

# A client without buildx builds with BuildKit only if it is as old as the engine of Debian.
export DOCKER=${DOCKER:-docker}
"$DOCKER" buildx version >/dev/null 2>&1 || { install_missing docker.io; DOCKER=/usr/bin/docker; }
if "$DOCKER" compose version >/dev/null 2>&1; then COMPOSE=("$DOCKER" compose); else install_missing docker-compose; COMPOSE=(docker-compose); fi
mkdir -p "$WORK"
work=$(mktemp -d "$WORK/docker_test.XXXXXX")
if ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || die "no Docker engine answers, and only root can start one"
  install_missing docker.io
  export DOCKER_HOST=unix://$work/socket
  dockerd --data-root "$WORK/docker" --exec-root "$work/exec" -p "$work/pid" -H "$DOCKER_HOST" > "$work/engine.log" 2>&1 < /dev/null &
  engine=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
  docker info >/dev/null 2>&1 || { tail -20 "$work/engine.log"; die "the Docker engine did not start"; }
fi
"$ROOT/tests/setup/base_images.sh" "$PG_MAJOR"

passed=0 failed=0
is() {
  if [ "$2" = "$3" ]; then echo "ok      $1"; passed=$((passed + 1)); else echo "not ok  $1: '$2' is not '$3'"; failed=$((failed + 1)); fi
}
less() { # NAME VALUE LIMIT
  if awk "BEGIN { exit !($2 < $3) }"; then echo "ok      $1: $2"; passed=$((passed + 1)); else echo "not ok  $1: $2 is not below $3"; failed=$((failed + 1)); fi
}
container() { compose --profile demo ps -a -q "$1" | head -1; }
sql() { docker exec "$(container warehouse)" psql -U postgres -XAtq -v ON_ERROR_STOP=1 -d qbo_raw -c "$1"; }
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container warehouse)" 2>/dev/null)" = healthy ]; }
until_true() { local end=$((SECONDS + $1)); shift; until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.5; done; }
seconds() { local began=$EPOCHREALTIME; "$@" >/dev/null 2>&1; awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $began }"; }

say "building the image for PostgreSQL $PG_MAJOR"
# The machine's own way to the registry of crates, if it has one; it stays in no layer.
secret=()
if [ -f "${CARGO_HOME:-$HOME/.cargo}/config.toml" ]; then secret=(--secret "id=cargo,src=${CARGO_HOME:-$HOME/.cargo}/config.toml"); fi
build() { docker build --progress=plain --network=host -f docker/Dockerfile --build-arg PG_MAJOR="$PG_MAJOR" "${secret[@]}" "$@" . > "$work/build.log" 2>&1 || { tail -30 "$work/build.log"; exit 1; }; }
began=$SECONDS
build -t "qbo_raw:$PG_MAJOR"
echo "built in $((SECONDS - began)) s"
build --target simulator -t "qbo_raw_simulator:$PG_MAJOR"
size() { docker image inspect -f '{{.Size}}' "$1"; }
echo "size $(($(size "qbo_raw:$PG_MAJOR") / 1000000)) MB, of that PostgreSQL's image $(($(size "postgres:$PG_MAJOR") / 1000000)) MB"
less "MB on top of PostgreSQL's image" $((($(size "qbo_raw:$PG_MAJOR") - $(size "postgres:$PG_MAJOR")) / 1000000)) 40
inside() { docker run --rm --entrypoint bash "qbo_raw:$PG_MAJOR" -c "$1"; }
is "no compiler and no cargo cache are in it" "$(inside 'command -v cc gcc clang cargo rustc; find / -xdev -type d \( -name .cargo -o -path /usr/local/cargo -o -path /src \) 2>/dev/null')" ""
is "it runs as postgres" "$(inside 'id -un')" postgres

say "docker compose --profile demo up"
compose --profile demo up -d --no-build > "$work/up.log" 2>&1 || { cat "$work/up.log"; exit 1; }
is "the warehouse is healthy" "$(until_true 90 healthy && echo yes)" yes
until_true 20 test -n "$(container demo)"
exit_code=$(timeout 300 "$DOCKER" wait "$(container demo)")
docker logs "$(container demo)" 2>&1 | tail -20
if [ "$exit_code" != 0 ]; then
  compose --profile demo ps
  docker logs --tail 5 "$(container simulator)" 2>&1
  docker exec "$(container warehouse)" bash -c 'cat /etc/resolv.conf; getent hosts simulator || echo "the name simulator is not known"'
fi
is "the demo ended well" "$exit_code" 0
is "no credential is in the environment of the server that its init script connected" \
  "$(docker exec "$(container warehouse)" cat /proc/1/environ | tr '\0' '\n' | grep -cFf <(cd docker/secrets.demo && cat client_id client_secret refresh_token))" 0
is "three tables are filled" "$(sql "SELECT (SELECT count(*) FROM raw.qb_invoices), (SELECT count(*) FROM raw.qb_customers), (SELECT count(*) FROM raw.qb_items)")" "500|60|40"
is "by pg_cron" "$(sql "SELECT count(DISTINCT j.jobname) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname LIKE 'qbo demo%' AND d.status = 'succeeded'")" 3
is "the schedule for real life is there" "$(sql "SELECT count(*) FROM cron.job WHERE jobname IN ('qbo invoices', 'qbo customers', 'qbo items', 'qbo tidy')")" 4
sql "SELECT cron.unschedule(jobname) FROM cron.job WHERE jobname LIKE 'qbo demo%'" >/dev/null

say "a restart in mid-run"
id=$(sql "SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-09-30', 1, 10, 'created')")
some() { [ "$(sql "SELECT windows_done BETWEEN 5 AND 60 FROM raw.qb_run WHERE run_id = $id")" = t ]; }
is "the run is at work" "$(until_true 60 some && sql "SELECT status FROM raw.qb_run WHERE run_id = $id")" running
less "seconds to stop in mid-run" "$(seconds compose stop -t 20 warehouse)" 5
is "it stopped by itself" "$(docker inspect -f '{{.State.ExitCode}}' "$(container warehouse)")" 0
is "the server shut down in less than 3 s" "$(docker logs -t "$(container warehouse)" 2>&1 | awk '
  function at(t) { split(substr(t, 12), p, /[:Z]/); return p[1] * 3600 + p[2] * 60 + p[3] }
  /received fast shutdown request/ { from = at($1) } /database system is shut down/ { took = at($1) - from } END { print (from && took < 3) ? "yes" : took }')" yes
compose start warehouse >/dev/null 2>&1
until_true 60 healthy
done_() { [ "$(sql "SELECT status NOT IN ('queued', 'running') FROM raw.qb_run WHERE run_id = $id" 2>/dev/null)" = t ]; }
until_true 90 done_ || true
is "the run went on by itself and ended" "$(sql "SELECT status, windows_done, windows_failed, attempt > 1 FROM raw.qb_run WHERE run_id = $id")" "success|92|0|t"
is "no window was lost or done twice" "$(sql "SELECT count(*), count(DISTINCT window_start), sum(row_count) FROM raw.backfill_report_invoices WHERE run_id = $id AND status = 'success'")" "92|92|500"
is "no row was lost" "$(sql "SELECT count(*) FROM raw.qb_invoices")" 500

say "secrets"
warehouse=$(container warehouse)
for name in realm_id client_id client_secret refresh_token postgres_password; do
  value=$(cat "docker/secrets.demo/$name")
  # The realm is no secret; it is in the line that qb_connect answers.
  [ $name != realm_id ] || continue
  is "$name is in no layer and no description of the image" "$( (docker history --no-trunc "qbo_raw:$PG_MAJOR"; docker inspect "qbo_raw:$PG_MAJOR") | grep -cF "$value")" 0
  is "$name is not in the container's description" "$(docker inspect "$warehouse" | grep -cF "$value")" 0
  is "$name is not in the log" "$(docker logs "$warehouse" 2>&1 | grep -cF "$value")" 0
  is "$name is not in the server's environment" "$(docker exec "$warehouse" cat /proc/1/environ | grep -cF "$value")" 0
done
is "qb_config has them" "$(sql "SELECT client_secret FROM raw.qb_config")" "$(cat docker/secrets.demo/client_secret)"

say "the volume keeps the data"
compose --profile demo down -t 10 >/dev/null 2>&1
compose up -d --no-build warehouse >/dev/null 2>&1
until_true 60 healthy
is "what was stored is there in a new container" "$(sql "SELECT count(*), (SELECT count(*) FROM raw.qb_run WHERE status = 'success') >= 4, (SELECT count(*) FROM raw.qb_config) FROM raw.qb_invoices")" "500|t|1"

say "without credentials"
docker run -d --name $run-alone -e POSTGRES_PASSWORD=x "qbo_raw:$PG_MAJOR" >/dev/null
alone() { [ "$(docker inspect -f '{{.State.Health.Status}}' $run-alone)" = healthy ]; }
is "it comes up as well" "$(until_true 60 alone && echo yes)" yes
is "and says what is missing" "$(docker logs $run-alone 2>&1 | grep -c 'no company is connected')" 1
less "seconds to stop when idle" "$(seconds docker stop -t 20 $run-alone)" 3
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
