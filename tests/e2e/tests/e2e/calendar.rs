//! Days and times, and where they end: no finite time breaks a run, and the zone of a session changes nothing.

use qbo_e2e::{Database, RANGE};
use qbo_sim::Options;

fn small() -> Database<'static> {
    Database::with(Options { counts: vec![("Item".to_owned(), 12)], ..Options::default() })
}

#[test]
fn every_execution_date_is_stored_as_it_is_or_refused() {
    let db = small();
    let ends = [
        "4714-11-24 00:00:00+00 BC",
        "0001-01-01 00:00:00+00",
        "1969-12-31 23:59:59.999999+00",
        "2025-03-30 02:30:00 Europe/Berlin",
        "9999-12-31 23:59:59.999999+00",
        "262142-12-31 23:59:59.999999+00",
    ];
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
    for at in ["262143-01-01 00:00:00+00", "294276-12-31 23:59:59.999999+00", "infinity", "-infinity"] {
        for call in ["raw.qb_backfill('items'", once] {
            let error = db.refused(&format!("SELECT {call}, {RANGE}, execution_date => '{at}')"));
            assert_eq!(error.sqlstate, "22023", "{call} {at}: {error:?}");
            assert!(error.message.starts_with("execution_date is "), "{call} {at}: {error:?}");
            assert_eq!(error.detail, "It must be a finite time before the year 262143.", "{call} {at}");
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
