//! Days and times, and where they end: no finite time breaks a run, and the zone of a session changes nothing.

use qbo_e2e::{Database, RANGE, rows, seconds, wait_until};
use qbo_sim::Options;

fn small() -> Database<'static> {
    Database::with(Options { counts: vec![("Item".to_owned(), 12)], ..Options::default() })
}

#[test]
fn every_execution_date_is_stored_as_it_is_or_refused() {
    let db = small();
    let ends =
        ["1990-01-01 00:00:00+00", "1999-12-31 23:59:59.999999+00", "2025-03-30 02:30:00 Europe/Berlin"];
    for at in ends {
        let run = db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, execution_date => '{at}')"));
        assert_eq!(db.ended(run), "success", "{at}: {}", db.of_run(run, "error_message"));
        let stored = format!("SELECT count(*), bool_and(ingested_at_utc = '{at}') FROM raw.qb_items");
        assert_eq!(db.rows(&stored), [["12", "t"]], "{at}");
        assert_eq!(
            db.value(&format!("SELECT execution_date = '{at}' FROM raw.qb_run WHERE run_id = {run}")),
            "t"
        );
        db.exec("TRUNCATE raw.qb_items");
    }
    // Stands for pg_cron.
    db.exec(
        "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid int DEFAULT 1, jobname text, schedule text, command text);
         CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS
           $$ INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3) RETURNING jobid $$",
    );
    let before = db.value("SELECT count(*) FROM raw.qb_run");
    let once = "raw.qb_schedule_once(now() + interval '1 hour', 'items'";
    let beyond = [
        "4714-11-24 00:00:00+00 BC",
        "1989-12-31 23:59:59.999999+00",
        "9999-12-31 23:59:59.999999+00",
        "262143-01-01 00:00:00+00",
        "294276-12-31 23:59:59.999999+00",
        "infinity",
        "-infinity",
    ];
    for at in beyond {
        for call in ["raw.qb_backfill('items'", once] {
            let error = db.refused(&format!("SELECT {call}, {RANGE}, execution_date => '{at}')"));
            assert_eq!(error.sqlstate, "22023", "{call} {at}: {error:?}");
            assert!(error.message.starts_with("execution_date is "), "{call} {at}: {error:?}");
            let bounds = "It must be a finite time from 1990-01-01 to two days";
            assert!(error.detail.starts_with(bounds), "{call} {at}: {error:?}");
        }
    }
    assert_eq!(db.value("SELECT count(*) FROM cron.job"), "0");
    assert_eq!(db.value("SELECT count(*) FROM raw.qb_run"), before);
    for at in ends {
        db.exec(&format!("SELECT {once}, {RANGE}, execution_date => '{at}')"));
        // The job's text is the same moment, whatever it is read by.
        let text = db.value("DELETE FROM cron.job RETURNING command");
        let written = text.split('\'').rev().nth(3).unwrap().to_owned();
        assert_eq!(db.value(&format!("SELECT '{written}'::timestamptz = '{at}'")), "t", "{text}");
    }
}

/// Zones with odd offsets, with odd changes, and the two ends of the world.
const ZONES: &[&str] = &[
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "America/Los_Angeles",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "<x>-167",
    "<x>+167:30",
];

#[test]
fn the_time_zone_of_a_session_changes_nothing() {
    let db = small();
    // With holes, and over days on which clocks change.
    for range in ["'2025-03-01', '2025-03-20'", "'2025-03-29', '2025-04-07'", "'2025-10-24', '2025-11-03'"] {
        let run = db.number(&format!("SELECT raw.qb_backfill('items', {range}, 3)"));
        assert_eq!(db.ended(run), "success");
    }
    let looks = [
        "SELECT g FROM raw.qb_gaps('items', '2025-02-01', '2025-11-30') g",
        "SELECT c FROM raw.qb_coverage('items', '2025-02-01', '2025-11-30') c",
        "SELECT d.day, d.status FROM raw._qb_days('items', 'default', 'updated') d ORDER BY 1",
        "SELECT extract(epoch FROM window_start), extract(epoch FROM window_end) FROM raw.backfill_report_items ORDER BY 1",
    ];
    let mut client = db.client();
    let mut see = |zone: &str| {
        client.batch_execute(&format!("SET timezone = '{zone}'")).unwrap();
        looks.map(|look| rows(&mut client, look).unwrap())
    };
    let utc = see("UTC");
    assert!(utc.iter().all(|seen| seen.len() >= 4), "{utc:?}");
    let mut zones =
        db.rows("SELECT name FROM pg_timezone_names WHERE name !~ '^(posix|right)/' ORDER BY 1").concat();
    assert!(zones.len() >= 400, "{}", zones.len());
    zones.extend(ZONES.iter().map(|zone| (*zone).to_owned()));
    for zone in &zones {
        assert_eq!(see(zone), utc, "{zone}");
    }

    let mut filled = Vec::new();
    for zone in ZONES {
        client.batch_execute(&format!("SET timezone = '{zone}'; BEGIN")).unwrap();
        let fill = "SELECT raw.qb_fill_gaps('items', '2025-03-01', '2025-11-03', 10)";
        let run = rows(&mut client, fill).unwrap().concat().concat();
        let windows = format!(
            "SELECT extract(epoch FROM lower(w)), extract(epoch FROM upper(w)) FROM raw.qb_run, unnest(windows) w WHERE run_id = {run}"
        );
        filled.push(rows(&mut client, &windows).unwrap());
        client.batch_execute("ROLLBACK").unwrap();
    }
    assert!(filled[0].len() > 20 && filled.iter().all(|windows| *windows == filled[0]), "{filled:?}");

    for zone in ZONES {
        client.batch_execute(&format!("SET timezone = '{zone}'")).unwrap();
        // Windows begin and end at midnight UTC, and go through edge to edge.
        let queue = format!(
            "SELECT raw.qb_backfill('items', '2025-03-28', '2025-04-01', 2, execution_date => '2025-03-30 02:30 {}')",
            if zone.starts_with('<') { "UTC" } else { zone }
        );
        let run: i64 = rows(&mut client, &queue).unwrap()[0][0].parse().unwrap();
        assert_eq!(db.ended(run), "success", "{zone}");
        assert_eq!(
            db.rows(&format!(
                "SELECT window_start AT TIME ZONE 'UTC', window_end AT TIME ZONE 'UTC' FROM raw.backfill_report_items
                  WHERE run_id = {run} ORDER BY 1"
            )),
            [
                ["2025-03-28 00:00:00", "2025-03-30 00:00:00"],
                ["2025-03-30 00:00:00", "2025-04-01 00:00:00"],
                ["2025-04-01 00:00:00", "2025-04-02 00:00:00"]
            ],
            "{zone}"
        );
    }
}

/// Attempts at windows that lie anyhow: of days and of hours, one over the other, of both kinds of runs and of none that is known.
const ATTEMPTS: &str = "
    SELECT setseed(0.5);
    INSERT INTO raw.qb_run (connection, entity, start_date, end_date, chunk_days, page_size, window_on, requested_by, status, windows_total)
    SELECT 'default', 'items', '2025-03-01', '2025-03-31', 1, 100, CASE WHEN n < 3 THEN 'created' ELSE 'updated' END, 'postgres', 'success', 1
      FROM generate_series(1, 8) n;
    INSERT INTO raw.backfill_report_items (run_id, attempt, window_start, window_end, status, started_at, finished_at)
    SELECT (random() * 12)::int, n, s, s + CASE WHEN random() < 0.5 THEN interval '24 hours' * (1 + random() * 4)::int ELSE interval '100 hours' * random() END,
           CASE WHEN random() < 0.3 THEN 'error' ELSE 'success' END, now(), now()
      FROM generate_series(1, 150) n CROSS JOIN LATERAL
           (SELECT '2025-03-01Z'::timestamptz + interval '1 hour' * (CASE WHEN random() < 0.6 THEN 24 * (random() * 40)::int ELSE random() * 960 END) + 0 * n * interval '1 s') w (s);
    INSERT INTO raw.backfill_report_items (run_id, attempt, window_start, window_end, status, started_at, finished_at)
    SELECT run_id, attempt + 1000, window_start, window_end, status, now(), now() FROM raw.backfill_report_items WHERE report_id % 3 = 0";

#[test]
fn a_day_is_what_its_newest_attempt_says_however_windows_lie() {
    let db = small();
    db.ended(db.number("SELECT raw.qb_backfill('items', '2025-02-01', '2025-02-02')"));
    db.exec(ATTEMPTS);
    for on in ["updated", "created"] {
        // Day by day, as it is promised.
        let promised = format!(
            "SELECT d.day::date AS day, n.report_id FROM generate_series('2025-01-01'::timestamp, '2025-06-01', '1 day') d (day)
              CROSS JOIN LATERAL (SELECT d.day AT TIME ZONE 'UTC' AS s, (d.day + interval '1 day') AT TIME ZONE 'UTC' AS e) u
              CROSS JOIN LATERAL (
                SELECT p.report_id FROM raw.backfill_report_items p LEFT JOIN raw.qb_run r USING (run_id)
                 WHERE coalesce(r.window_on, 'updated') = '{on}'
                   AND CASE p.status WHEN 'error' THEN p.window_start < u.e AND p.window_end > u.s
                                     ELSE p.window_start <= u.s AND p.window_end >= u.e END
                 ORDER BY p.report_id DESC LIMIT 1) n"
        );
        let days = (1..=31).map(|day| format!("'2025-03-{day:02}'")).map(|day| (day.clone(), day));
        let open = [
            ("null", "null"),
            ("'2025-03-10'", "'2025-03-24'"),
            ("'2025-03-20'", "null"),
            ("null", "'2025-03-15'"),
        ];
        let mut seen = 0;
        for (start, end) in days.chain(open.map(|(start, end)| (start.to_owned(), end.to_owned()))) {
            let said = format!(
                "SELECT day, report_id FROM raw._qb_days('items', 'default', '{on}', {start}, {end}) ORDER BY 1"
            );
            let wanted = format!(
                "SELECT day, report_id FROM ({promised}) w WHERE day BETWEEN coalesce({start}, '-infinity'::date) AND coalesce({end}, 'infinity'::date) ORDER BY 1"
            );
            let wanted = db.rows(&wanted);
            seen += wanted.len();
            assert_eq!(db.rows(&said), wanted, "{on}, {start} to {end}");
        }
        assert!(seen > 50, "{on}: {seen} days");
    }
}

#[test]
fn a_run_outlives_a_clock_that_was_set_back() {
    let db = small();
    // Asked for, and put aside, while the clock was a month ahead. Nobody is asked to wait for longer than a day.
    db.exec(
        "INSERT INTO raw.qb_run (connection, entity, start_date, end_date, chunk_days, page_size, window_on, requested_by,
                                 windows, windows_total, requested_at, not_before)
         SELECT 'default', 'items', '2025-07-01', current_date + 30, 1000, 100, 'updated', current_user,
                w, 1, now() + interval '29 days', now() + interval '30 days'
           FROM date_trunc('day', now(), 'UTC') today CROSS JOIN LATERAL
                (VALUES (NULL::tstzrange[]), (ARRAY[tstzrange(today + interval '29 days', today + interval '30 days')])) v (w)",
    );
    db.exec("SELECT raw.qb_tick()");
    for run in [1, 2] {
        assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    }
    db.check_equal("items", "Item");
    // What QuickBooks asked for is kept to.
    db.exec("UPDATE raw.qb_run SET status = 'queued', not_before = now() + interval '23 hours' WHERE run_id = 1; SELECT raw.qb_tick()");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.of_run(1, "status"), "queued");
    assert!(db.value("SELECT \"left\" FROM raw.qb_progress").starts_with("waits "));
}

/// QuickBooks' clock may be behind ours, and a record of the last second may come to light after midnight.
#[test]
fn a_day_is_over_five_minutes_after_its_end() {
    let db = small();
    db.ended(db.number("SELECT raw.qb_backfill('items', '2025-07-05', '2025-07-05')"));
    for (minutes, gaps, mark) in [(-1, 1, "in part"), (4, 1, "in part"), (6, 0, "covered")] {
        db.exec(&format!(
            "UPDATE raw.backfill_report_items SET started_at = '2025-07-06 00:00Z'::timestamptz + interval '{minutes} minutes'"
        ));
        let status = "SELECT status FROM raw._qb_days('items', 'default', 'updated')";
        let open = "SELECT count(*) FROM raw.qb_gaps('items', '2025-07-05', '2025-07-05')";
        assert_eq!(
            (db.value(status).as_str(), db.number(open)),
            (mark, gaps),
            "{minutes} minutes after its end"
        );
    }
}
