//! Secrets stay where they belong.

use qbo_e2e::{Database, Server, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

#[test]
fn no_secret_shows_up_anywhere() {
    let server = Server::private(
        "log_min_messages = debug5\nlog_error_verbosity = verbose\nlog_statement = none\nshared_preload_libraries = ''",
    );
    let secret = "CANARY-client-secret-71c2a9";
    let db = Database::on(
        &server,
        Options {
            client_secret: secret.to_owned(),
            refresh_token: Some("CANARY-refresh-token-55aa01".to_owned()),
            ..Options::default()
        },
    );
    // What the harness itself typed is not the extension's doing.
    let before = server.log().len();
    let mut canaries = vec![secret.to_owned(), "CANARY-refresh-token-55aa01".to_owned()];
    let mut seen_activity = String::new();

    // A good run, tokens that end and rotate, and every fault that repeats what it was sent.
    db.backfill("invoices");
    canaries.push(db.value("SELECT access_token FROM raw.qb_config"));
    db.sim.rotate_next();
    db.sim.expire_access_tokens();
    db.backfill("customers");
    for name in ["401", "403", "500", "html", "200-fault"] {
        db.sim.fault(When::Always, Fault::named(name).unwrap());
        let run = db.queue("items");
        wait_until("it ends", seconds(30), || {
            seen_activity += &db.value(
                "SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker'",
            );
            !["queued", "running"].contains(&db.of_run(run, "status").as_str())
        });
        db.sim.clear_faults();
    }
    // The gateway repeats the very token it was sent.
    db.sim.expire_access_tokens();
    db.sim.revoke_tokens();
    let run = db.queue("items");
    db.ended(run);
    db.exec("UPDATE raw.qb_config SET auth_state = 'ok', access_expires_at = now() + '1 hour'");
    let run = db.queue("items");
    db.ended(run);
    canaries.push(db.value("SELECT access_token FROM raw.qb_config"));
    canaries.push(db.value("SELECT refresh_token FROM raw.qb_config"));
    canaries.retain(|canary| canary.len() > 6);
    assert!(canaries.len() >= 4);

    let log = server.log().split_off(before);
    assert!(log.contains("qbo_raw: run"), "the log was read");
    assert!(seen_activity.contains("qbo_raw: run"), "{seen_activity}");
    let dump = server.run("pg_dumpall", &[]);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(dump.contains("qb_invoices"), "the dump was read");
    let mut tables = String::new();
    for table in db.rows("SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'v', 'm') AND c.relnamespace = 'raw'::regnamespace AND c.relname <> 'qb_config'").concat() {
        tables += &db.value(&format!("SELECT string_agg(t::text, ' ') FROM {table} t"));
    }
    assert!(tables.contains("needs_reauth"), "the tables were read");
    for canary in &canaries {
        for (place, text) in
            [("the log", &log), ("pg_stat_activity", &seen_activity), ("a dump", &dump), ("a table", &tables)]
        {
            assert!(!text.contains(canary.as_str()), "{canary} stands in {place}");
        }
    }
}
