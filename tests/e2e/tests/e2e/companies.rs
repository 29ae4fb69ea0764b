//! Several companies in one database.

use qbo_e2e::{Database, RANGE, Server, seconds, wait_until};
use qbo_sim::{Fault, Options, Sim, When};
use std::time::Duration;

fn another(seed: u64, invoices: u64) -> Sim {
    let counts = vec![("Invoice".to_owned(), invoices)];
    Sim::start(Options { seed, realm: format!("9130{seed:015}"), counts, ..Options::default() }).unwrap()
}

#[test]
fn two_companies_with_the_same_ids_do_not_touch_each_other() {
    let db = Database::new();
    let acme = another(7, 300);
    db.connect_another(&acme, "acme");
    assert_eq!(
        db.rows("SELECT connection, target_schema FROM raw.qb_connections ORDER BY 1"),
        [["acme", "raw_acme"], ["default", "raw"]]
    );
    let ours = db.queue("invoices");
    let theirs = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, connection => 'acme')"));
    assert_ne!(ours, theirs);
    assert_eq!((db.ended(ours), db.ended(theirs)), ("success".to_owned(), "success".to_owned()));
    let same = "SELECT count(*) > 50 FROM raw.qb_invoices a JOIN raw_acme.qb_invoices b USING (id) WHERE a.payload <> b.payload";
    assert_eq!(db.value(same), "t", "the ids are the same, the records are not");
    db.check_equal("invoices", "Invoice");
    db.check_equal_in("raw_acme", &acme, "invoices", "Invoice");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_verify('invoices', '2025-07-01', '2025-09-30', connection => 'acme') WHERE verdict = 'same'"), 14);

    // What goes wrong with one is nothing to the other: neither its failures, nor its coverage, nor its budget.
    acme.revoke_tokens();
    let theirs =
        db.number("SELECT raw.qb_backfill('customers', '2025-07-01', '2025-09-30', connection => 'acme')");
    assert_eq!(db.ended(theirs), "blocked_auth");
    db.backfill("customers");
    assert_eq!(
        db.rows("SELECT connection, auth_state FROM raw.qb_connections ORDER BY 1"),
        [["acme", "needs_reauth"], ["default", "ok"]]
    );
    assert_eq!(
        db.number(
            "SELECT days FROM raw.qb_gaps('customers', '2025-07-01', '2025-09-30', connection => 'acme')"
        ),
        92
    );
    assert!(db.rows("SELECT * FROM raw.qb_gaps('customers', '2025-07-01', '2025-09-30')").is_empty());
    let usage = db.rows("SELECT connection, sum(requests) FROM raw.qb_api_usage GROUP BY 1 ORDER BY 1");
    assert_eq!(
        usage,
        [
            ["acme".to_owned(), acme.request_count().to_string()],
            ["default".to_owned(), db.sim.request_count().to_string()]
        ]
    );
    // A schema belongs to one company.
    let error = db.refused(
        "SELECT raw.qb_connect('12', 'a', 'b', 'c', connection => 'third', target_schema => 'raw_acme')",
    );
    assert_eq!(error.sqlstate, "23505");
    assert!(error.message.contains("raw_acme"), "{error:?}");
}

#[test]
fn a_target_schema_is_where_the_tables_are() {
    let db = Database::new();
    // Nothing is loaded yet: it may be anywhere.
    db.exec("SELECT raw.qb_connect(target_schema => 'books')");
    db.backfill("items");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    for statement in [
        "SELECT raw.qb_connect(target_schema => 'raw')",
        "UPDATE raw.qb_config SET target_schema = 'raw'",
        "CREATE SCHEMA other AUTHORIZATION qbo_raw_owner; ALTER TABLE books.qb_items SET SCHEMA other;
         SELECT raw.qb_connect(target_schema => 'other')",
    ] {
        let error = db.refused(statement);
        assert_eq!(error.sqlstate, "55000", "{statement}: {error:?}");
        assert!(error.message.contains("\"default\" are in schema \"books\""), "{error:?}");
        assert!(error.hint.contains("ALTER TABLE books.backfill_report_items SET SCHEMA"), "{error:?}");
    }
    // What the hint says.
    db.exec(
        "CREATE SCHEMA other AUTHORIZATION qbo_raw_owner;
         ALTER TABLE books.qb_items SET SCHEMA other; ALTER TABLE books.backfill_report_items SET SCHEMA other;
         ALTER TABLE books.qb_rejects SET SCHEMA other",
    );
    let line = db.value("SELECT raw.qb_connect(target_schema => 'other')");
    assert!(line.ends_with("tables in schema other"), "{line}");
    assert_eq!(db.rows("SELECT * FROM raw.qb_gaps('items', '2025-07-01', '2025-09-30')").len(), 0);
    let run = db.backfill("items");
    assert_eq!(db.of_run(run, "skipped_count"), "40", "the same tables go on");
}

#[test]
fn a_company_that_was_mistyped_is_put_right_until_something_is_stored() {
    let db = Database::new();
    let (realm, ..) = db.sim.credentials();
    db.exec("SELECT raw.qb_connect(realm_id => '12', environment => 'sandbox')");
    let run = db.queue("items");
    assert_eq!((db.ended(run).as_str(), db.of_run(run, "windows_done").as_str()), ("failed", "0"));
    db.exec(&format!("SELECT raw.qb_connect(realm_id => '{realm}', environment => 'production')"));
    db.exec(&format!("SELECT raw.qb_resume({run})"));
    assert_eq!(db.ended(run), "success");
    let error = db.refused("SELECT raw.qb_connect(environment => 'sandbox')");
    assert_eq!(error.sqlstate, "55000");
    assert!(error.message.ends_with(&format!("another company, {realm} (production)")), "{error:?}");
    // Neither past the function.
    let error = db.refused("UPDATE raw.qb_config SET realm_id = '12'");
    assert_eq!(error.sqlstate, "55000", "{error:?}");
}

#[test]
fn a_company_that_nobody_authorized_is_not_ok() {
    let db = Database::new();
    let state =
        "SELECT c.auth_state, s.attention FROM raw.qb_connections c JOIN raw.qb_secrets s USING (connection)
                  WHERE c.connection = 'acme' AND s.name = 'refresh_token'";
    db.exec("SELECT raw.qb_connect(client_id => 'a', client_secret => 'b', connection => 'acme')");
    assert_eq!(db.rows(state), [["needs_reauth", "authorize the company: raw.qb_authorize_url"]]);
    db.exec("SELECT raw.qb_connect(realm_id => '12', refresh_token => 'c', connection => 'acme')");
    assert_eq!(db.rows(state), [["ok", ""]]);
}

#[test]
fn one_company_that_stalls_does_not_hold_up_another() {
    let db = Database::new();
    let acme = another(7, 50);
    db.connect_another(&acme, "acme");
    db.sim.fault(When::Always, Fault::Stall(seconds(30)));
    let stalled = db.queue("invoices");
    wait_until("it stalls", seconds(30), || db.sim.request_count() >= 1);
    let theirs = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, connection => 'acme')"));
    assert_eq!(db.ended(theirs), "success");
    assert_eq!(db.of_run(stalled, "status"), "running");
    db.exec(&format!("SELECT raw.qb_cancel({stalled})"));
    assert_eq!(db.ended(stalled), "cancelled");
}

#[test]
fn twenty_companies_share_two_workers_fairly() {
    let server = Server::private("");
    let small = || Options {
        counts: vec![("Item".to_owned(), 5)],
        latency: Duration::from_millis(20),
        ..Options::default()
    };
    let db = Database::on(&server, small());
    let others: Vec<Sim> = (1..20)
        .map(|seed| Sim::start(Options { seed, realm: format!("9130{seed:015}"), ..small() }).unwrap())
        .collect();
    for (number, sim) in others.iter().enumerate() {
        db.connect_another(sim, &format!("company{number:02}"));
    }
    // Each asks for three runs before the next one asks: in the order of asking the last would wait for all of them.
    db.exec(
        "DO $$ DECLARE c text; BEGIN
           FOR c IN SELECT connection FROM raw.qb_connections ORDER BY connection <> 'default', 1 LOOP
             PERFORM raw.qb_backfill('items', '2025-07-01', '2025-09-30', 31, connection => c),
                     raw.qb_backfill('accounts', '2025-07-01', '2025-09-30', 31, connection => c),
                     raw.qb_backfill('terms', '2025-07-01', '2025-09-30', 31, connection => c);
           END LOOP;
         END $$",
    );
    let busiest = std::cell::Cell::new(0);
    wait_until("all runs end", seconds(300), || {
        // Who has a place works; one that finds none leaves at once.
        let workers = db.number(&format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = {}",
            0x7162_6f03
        ));
        busiest.set(busiest.get().max(workers));
        db.number("SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')") == 0
    });
    assert_eq!(db.rows("SELECT status, count(*) FROM raw.qb_run GROUP BY 1"), [["success", "60"]]);
    assert!((1..=2).contains(&busiest.get()), "{} workers", busiest.get());
    // Nobody's next turn comes before everybody's, and who has nothing under way waits for one turn of the others, not for two,
    // which are 38 starts; two workers and the order of starts blur it a little. How long a run takes does not matter.
    let unfair = db.rows(
        "SELECT * FROM (
           SELECT t.connection, t.turn, t.place, (SELECT count(*) FROM raw.qb_run o
                     WHERE o.started_at > t.free_since AND o.started_at < t.started_at) AS waited
             FROM (SELECT connection, started_at, row_number() OVER (ORDER BY started_at) AS place,
                          row_number() OVER own AS turn, coalesce(lag(finished_at) OVER own, '-infinity') AS free_since
                     FROM raw.qb_run WINDOW own AS (PARTITION BY connection ORDER BY started_at)) t) w
          WHERE place < (turn - 1) * 20 - 3 OR waited > 30",
    );
    assert!(unfair.is_empty(), "{unfair:?}");
}
