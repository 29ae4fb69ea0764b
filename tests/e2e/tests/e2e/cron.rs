//! Schedules with the real pg_cron. Its shortest interval is a minute, so one minute shows everything.

use qbo_e2e::{Database, Server, program, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

/// Whether the PostgreSQL under test has pg_cron; the one from PyPI has not.
pub fn has_cron() -> bool {
    let output = std::process::Command::new(program("pg_config")).arg("--pkglibdir").output().unwrap();
    let libraries = String::from_utf8(output.stdout).unwrap();
    std::path::Path::new(libraries.trim()).join("pg_cron.so").exists()
}

#[test]
fn one_minute_of_pg_cron() {
    if !has_cron() {
        let db = Database::new();
        let error = db.refused(
            "SELECT raw.qb_schedule_once(now() + interval '1 hour', 'items', '2025-07-01', '2025-07-02')",
        );
        assert_eq!(error.sqlstate, "55000");
        assert!(error.hint.contains("CREATE EXTENSION pg_cron"), "{error:?}");
        return;
    }
    let server = Server::private(
        "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'books'\ncron.use_background_workers = on\ncron.timezone = 'America/New_York'",
    );
    let db = Database::named(&server, "books", Options::default());
    db.exec("CREATE EXTENSION pg_cron");
    server.sql("postgres", "CREATE ROLE nightly LOGIN; GRANT qbo_raw_operator TO nightly");
    let after = qbo_e2e::rows(
        &mut db.client_as("nightly"),
        "SELECT result FROM raw.qb_check() WHERE subject = 'after a restart'",
    );
    assert_eq!(after.unwrap(), [["pg_cron, whose jobs you may not see"]]);
    db.exec("GRANT USAGE ON SCHEMA cron TO nightly");
    for (call, sqlstate) in [
        ("NULL, 'items', '2025-07-01', '2025-07-02'", "22004"),
        ("now() - interval '1 minute', 'items', '2025-07-01', '2025-07-02'", "22023"),
        ("now() + interval '2 years', 'items', '2025-07-01', '2025-07-02'", "22023"),
        ("'infinity', 'items', '2025-07-01', '2025-07-02'", "22023"),
        ("now() + interval '1 hour', 'itms', '2025-07-01', '2025-07-02'", "22023"),
        ("now() + interval '1 hour', 'items', NULL, '2025-07-02'", "22004"),
        ("now() + interval '1 hour', 'items', '2025-07-03', '2025-07-02'", "22023"),
    ] {
        assert_eq!(db.refused(&format!("SELECT raw.qb_schedule_once({call})")).sqlstate, sqlstate, "{call}");
    }
    // A run that was left behind, for the tick.
    db.sim.fault_times(When::Next(1), Fault::named("503:400").unwrap(), 1);
    let left = db.queue("terms");
    wait_until("it is put aside", seconds(30), || !db.of_run(left, "not_before").is_empty());
    db.exec("UPDATE raw.qb_run SET not_before = now() WHERE not_before IS NOT NULL");

    // Not in the last seconds of a minute: all is to be scheduled for the same one.
    wait_until("there is time", seconds(20), || {
        db.number("SELECT extract(second FROM clock_timestamp())::int") < 50
    });
    let mut nightly = db.client_as("nightly");
    let jobs = "SELECT cron.schedule('qbo invoices', '* * * * *', $$CALL raw.qb_wait(raw.qb_backfill('invoices', '2025-07-01', '2025-09-30'))$$),
                       cron.schedule('qbo invoices again', '* * * * *', $$CALL raw.qb_wait(raw.qb_backfill('invoices', '2025-07-01', '2025-09-30'))$$),
                       cron.schedule('qbo fails', '* * * * *', $$CALL raw.qb_wait(raw.qb_backfill('customers', '2025-07-01', '2025-07-02'))$$)";
    nightly.batch_execute(jobs).unwrap();
    db.exec("SELECT cron.schedule('qbo tick', '* * * * *', 'SELECT raw.qb_tick()')");
    db.sim.fault(When::Statement("FROM Customer".to_owned()), Fault::named("4001").unwrap());
    db.sim.fault_times(When::Statement("FROM Invoice".to_owned()), Fault::Stall(seconds(2)), 2);
    let once = db.number("SELECT raw.qb_schedule_once(clock_timestamp() + interval '1 second', 'items', '2025-07-01', '2025-09-30', 31)");
    assert_eq!(
        db.rows(&format!("SELECT active, length(jobname) < 64 FROM cron.job WHERE jobid = {once}")),
        [["t", "t"]]
    );
    assert_eq!(
        db.value("SELECT ok FROM raw.qb_check() WHERE subject = 'after a restart'"),
        "t",
        "there is a tick"
    );

    let details = "SELECT j.jobname LIKE 'qbo once%' OR j.jobname IN ('qbo invoices', 'qbo invoices again', 'qbo tick') AS good, d.status, count(*)
                     FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE d.end_time IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2";
    let began = std::time::Instant::now();
    while db.number("SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE end_time IS NOT NULL") < 5 {
        let now = "SELECT j.jobname, j.schedule, d.status, d.return_message FROM cron.job j LEFT JOIN cron.job_run_details d USING (jobid)";
        assert!(began.elapsed() < seconds(90), "{:?}\n{}", db.rows(now), server.log());
        std::thread::sleep(seconds(1));
    }
    let said = db.rows("SELECT jobid, status, return_message FROM cron.job_run_details");
    assert_eq!(db.rows(details)[0][..2], ["f", "failed"], "{said:?}");
    assert!(db.rows(details)[1..].iter().all(|row| row[1] == "succeeded"), "{said:?}");
    assert!(
        db.value("SELECT return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE jobname = 'qbo fails' LIMIT 1")
            .contains("qbo_4001"),
        "{said:?}"
    );
    // Two that fired at once were one run; the trigger switched itself off and left its evidence; the tick found what was left.
    let joined = "SELECT (SELECT count(*) FROM raw.qb_run WHERE entity = 'invoices' AND requested_by = 'nightly')
                         = count(DISTINCT date_trunc('minute', d.start_time)), count(*) >= 2
                    FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname LIKE 'qbo invoices%'";
    assert_eq!(db.rows(joined), [["t", "t"]], "{said:?}");
    assert_eq!(db.rows(&format!("SELECT schedule FROM cron.job WHERE jobid = {once}")), [["0 0 30 2 *"]]);
    assert_eq!(
        db.rows("SELECT status, windows_total FROM raw.qb_run WHERE entity = 'items'"),
        [["success", "3"]]
    );
    assert_eq!(db.ended(left), "success");
    db.check_equal("invoices", "Invoice");
    db.exec("SELECT cron.unschedule(jobid) FROM cron.job");
}

#[test]
fn a_trigger_that_was_missed_says_so_and_does_not_fire_in_another_year() {
    if !has_cron() {
        return;
    }
    let server = Server::private("shared_preload_libraries = 'pg_cron'\ncron.database_name = 'books'");
    let db = Database::named(&server, "books", Options::default());
    db.exec("CREATE EXTENSION pg_cron; SELECT cron.schedule('once', '0 0 1 1 *', 'SELECT 1')");
    let fire = |at: &str| {
        format!(
            "SELECT raw._qb_fire('once', {at}, 'items', '2025-07-01', '2025-07-02', 7, 100, 'updated', NULL, 'default')"
        )
    };
    // Too early: pg_cron knows no year.
    assert_eq!(db.value(&fire("now() + interval '10 minutes'")), "");
    assert_eq!(db.value("SELECT schedule FROM cron.job"), "0 0 1 1 *");
    let (mut client, heard) = db.listening();
    client.batch_execute(&fire("now() - interval '3 days'")).unwrap();
    assert!(heard.lock().unwrap()[0].contains("was missed"), "{heard:?}");
    assert_eq!(db.value("SELECT schedule FROM cron.job"), "0 0 30 2 *");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 0);
    // The server was down in that minute: it is called again an hour later.
    let once = db.number(
        "SELECT raw.qb_schedule_once(now() + interval '1 hour', 'items', '2025-07-01', '2025-07-02')",
    );
    let schedule = db.value(&format!("SELECT schedule FROM cron.job WHERE jobid = {once}"));
    let hours = schedule.split(' ').nth(1).unwrap_or_default();
    assert!(hours.ends_with("-23") && schedule.split(' ').count() == 5, "{schedule}");
    assert_eq!(db.value(&fire("now() - interval '2 hours'")), "1");
    // And for the rest of the day: then the doctor is the one to say so.
    let doctor = "SELECT result FROM raw.qb_check() WHERE subject = 'schedule' AND NOT ok";
    assert!(db.rows(doctor).is_empty());
    db.exec("UPDATE cron.job SET jobname = regexp_replace(jobname, ' \\d{4}-', ' 2024-') WHERE jobname LIKE 'qbo once %'");
    let missed = db.value("SELECT jobname FROM cron.job WHERE jobname LIKE 'qbo once %'");
    // A tick of another database is none of this one.
    let tick = "SELECT ok FROM raw.qb_check() WHERE subject = 'after a restart'";
    db.exec("SELECT cron.schedule_in_database('tick', '0 0 1 1 *', 'SELECT raw.qb_tick()', 'postgres')");
    assert_eq!(db.value(tick), "f");
    db.exec("SELECT cron.schedule_in_database('tick here', '0 0 1 1 *', 'SELECT raw.qb_tick()', 'books')");
    assert_eq!(db.value(tick), "t");
    // Whatever others call their jobs.
    db.exec("SELECT cron.schedule('qbo once items 2026-99-99 99:99 x', '0 0 1 1 *', 'SELECT 1')");
    assert_eq!(db.rows(doctor), [[format!("job \"{missed}\" was missed: the server was down")]]);
}
