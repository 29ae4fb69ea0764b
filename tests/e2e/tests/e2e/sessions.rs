//! Sessions that ask at the same time, in transactions of every kind: the same twice, ranges that overlap, what is prepared,
//! rolled back in part, deadlocked.

use crate::launcher::{hold_back, let_go};
use postgres::Client;
use qbo_e2e::{Database, RANGE, Server, rows, seconds, wait_until};
use qbo_sim::{Fault, Options, When};
use std::collections::HashMap;
use std::sync::Barrier;
use std::time::Duration;

#[test]
fn thirty_two_sessions_that_ask_for_the_same_get_the_same_run() {
    let db = Database::new();
    db.sim.fault_times(When::Next(1), Fault::Stall(seconds(60)), 1);
    let barrier = Barrier::new(32);
    let ids: Vec<i64> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let ask = move |mut client: Client| {
            barrier.wait();
            let call = format!("SELECT raw.qb_backfill('invoices', {RANGE})");
            rows(&mut client, &call).unwrap()[0][0].parse().unwrap()
        };
        // Connected beforehand: who does not get there would be waited for.
        let clients: Vec<Client> = (0..32).map(|_| db.client()).collect();
        let asking: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || ask(client))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 1);
    wait_until("it works", seconds(30), || db.sim.request_count() > 0);
    db.sim.release();
    assert_eq!(db.ended(ids[0]), "success");
    db.check_equal("invoices", "Invoice");
    let mut asked: HashMap<String, u32> = HashMap::new();
    for request in db.sim.requests() {
        *asked.entry(request.statement).or_default() += 1;
    }
    assert!(asked.values().all(|times| *times == 1), "{asked:#?}");
}

#[test]
fn eight_databases_get_the_extension_at_once() {
    let server = Server::empty("");
    server.start();
    for round in 0..3 {
        // The roles are of the whole server; whoever makes them first, all of them use them.
        for n in 0..8 {
            server.sql("postgres", &format!("CREATE DATABASE d{n}"));
        }
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            let clients: Vec<Client> =
                (0..8).map(|n| server.connect(&format!("d{n}"), "postgres").unwrap()).collect();
            for mut client in clients {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    client
                        .batch_execute("CREATE EXTENSION qbo_raw")
                        .unwrap_or_else(|error| panic!("round {round}: {error:?}"));
                });
            }
        });
        for n in 0..8 {
            server.sql("postgres", &format!("DROP DATABASE d{n} WITH (FORCE)"));
        }
        server.sql("postgres", "DROP ROLE qbo_raw_owner, qbo_raw_operator, qbo_raw_reader");
    }
}

#[test]
fn ranges_that_overlap_are_done_one_after_the_other_and_the_newest_record_stays() {
    let db = Database::with(Options { latency: Duration::from_millis(10), ..Options::default() });
    let calls =
        ["'2025-07-01', '2025-08-31', 3", "'2025-08-01', current_date, 5", "'2025-07-15', current_date, 40"];
    let runs = calls.map(|range| db.number(&format!("SELECT raw.qb_backfill('invoices', {range})")));
    // Their records go on changing, so that what one run stores the next one finds newer.
    for round in 0..6 {
        for id in db.sim.ids("Invoice").iter().skip(round).step_by(25) {
            db.sim.update("Invoice", id);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    for run in runs {
        assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    }
    let at_once = "SELECT count(*) FROM raw.qb_run a JOIN raw.qb_run b ON a.run_id < b.run_id
                    WHERE tstzrange(a.started_at, a.finished_at, '()') && tstzrange(b.started_at, b.finished_at, '()')";
    assert_eq!(
        db.number(at_once),
        0,
        "{:?}",
        db.rows("SELECT run_id, started_at, finished_at FROM raw.qb_run")
    );
    let run = db.number("SELECT raw.qb_backfill('invoices', '2025-07-01', current_date, 200)");
    assert_eq!(db.ended(run), "success");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_run_of_a_prepared_transaction_begins_when_that_is_committed() {
    let server = Server::private("max_prepared_transactions = 5");
    let db = Database::on(&server, Options::default());
    let asked = |name: &str| {
        db.exec(&format!("BEGIN; SELECT raw.qb_backfill('invoices', {RANGE}); PREPARE TRANSACTION '{name}'"));
    };
    asked("later");
    // Nobody waits for it: another run is done meanwhile, though it waits for nothing of the first.
    db.backfill("items");
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run WHERE entity = 'invoices'"), 0);
    // Not even a restart changes that.
    server.stop("fast");
    server.start();
    db.exec("COMMIT PREPARED 'later'");
    let run = db.number("SELECT run_id FROM raw.qb_run WHERE entity = 'invoices'");
    assert_eq!((db.number("SELECT raw.qb_tick()"), db.ended(run).as_str()), (1, "success"));
    db.check_equal("invoices", "Invoice");
    let seen = db.sim.request_count();
    asked("never");
    db.exec("ROLLBACK PREPARED 'never'");
    assert_eq!(db.number("SELECT raw.qb_tick()"), 0);
    assert_eq!((db.number("SELECT count(*) FROM raw.qb_run"), db.sim.request_count()), (2, seen));
}

#[test]
fn of_a_transaction_only_what_is_committed_is_queued() {
    let db = Database::new();
    let call = |entity: &str| format!("SELECT raw.qb_backfill('{entity}', {RANGE});");
    db.exec(&format!(
        "BEGIN; SAVEPOINT a; {} ROLLBACK TO a; SAVEPOINT b; {} RELEASE b;
         DO $$ BEGIN BEGIN PERFORM raw.qb_backfill('vendors', {RANGE}); RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END;
                     PERFORM raw.qb_backfill('customers', {RANGE}); END $$;
         COMMIT",
        call("items"),
        call("invoices")
    ));
    let queued = db.rows("SELECT run_id, entity FROM raw.qb_run ORDER BY entity");
    assert_eq!(queued.iter().map(|row| row[1].as_str()).collect::<Vec<_>>(), ["customers", "invoices"]);
    for row in &queued {
        assert_eq!(db.ended(row[0].parse().unwrap()), "success", "{row:?}");
    }
    // A subtransaction that was rolled back leaves a wish for a worker at most, and that one goes.
    db.exec(&format!("BEGIN; SAVEPOINT a; {} ROLLBACK TO a; COMMIT", call("items")));
    wait_until("no worker stays", seconds(30), || !db.has_worker());
    assert_eq!(db.number("SELECT count(*) FROM raw.qb_run"), 2);
}

#[test]
fn a_deadlock_that_somebody_else_finds_ends_his_transaction_and_not_the_run() {
    let db = Database::new();
    db.set("deadlock_timeout", "1min");
    db.backfill("invoices");
    db.exec("UPDATE raw.qb_invoices SET payload = jsonb_set(payload, '{MetaData,LastUpdatedTime}', '\"2020-01-01T00:00:00Z\"')");
    let ends = db.rows("SELECT min(id), max(id) FROM raw.qb_invoices").concat();
    let touch = |id: &str| format!("UPDATE raw.qb_invoices SET page_number = 7 WHERE id = '{id}'");
    let mut other = db.client();
    other.batch_execute(&format!("SET deadlock_timeout = '100ms'; BEGIN; {}", touch(&ends[1]))).unwrap();
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 365, 1000)"));
    let waits = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                  WHERE NOT l.granted AND a.backend_type = 'qbo_raw worker' AND a.datname = current_database()";
    wait_until("the worker waits for us", seconds(30), || db.number(waits) > 0);
    assert_eq!(qbo_e2e::refused(&mut other, &touch(&ends[0])).sqlstate, "40P01");
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(db.ended(run), "success", "{}", db.of_run(run, "error_message"));
    assert_eq!(db.of_run(run, "updated_count"), "500");
    db.check_equal("invoices", "Invoice");
}

#[test]
fn a_superuser_without_login_or_connections_has_his_worker_all_the_same() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    server.sql("postgres", "CREATE ROLE chief SUPERUSER LOGIN");
    let mut chief = db.client_as("chief");
    let limits = format!(
        "ALTER ROLE postgres NOLOGIN CONNECTION LIMIT 0; ALTER ROLE postgres RENAME TO founder;
         ALTER DATABASE {} CONNECTION LIMIT 0",
        db.name
    );
    chief.batch_execute(&limits).unwrap();
    chief.batch_execute(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', {RANGE}))")).unwrap();
    assert_eq!(rows(&mut chief, "SELECT count(*) FROM raw.qb_invoices").unwrap(), [["500"]]);
    chief
        .batch_execute("ALTER ROLE founder RENAME TO postgres; ALTER ROLE postgres LOGIN CONNECTION LIMIT -1")
        .unwrap();
}

#[test]
fn autovacuum_hears_of_the_rows_while_the_run_goes_on() {
    let server = Server::private(
        "autovacuum_naptime = 1s\nautovacuum_analyze_threshold = 10\nautovacuum_analyze_scale_factor = 0",
    );
    let db = Database::on(&server, Options { latency: Duration::from_millis(400), ..Options::default() });
    hold_back(&db);
    let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
    let count = |what: &str| {
        db.rows(&format!("SELECT {what} FROM pg_stat_user_tables WHERE relname = 'qb_invoices'"))
            .concat()
            .concat()
    };
    let some = |what: &str| count(what).parse::<i64>().is_ok_and(|n| n > 0);
    wait_until("rows are counted", seconds(30), || some("n_tup_ins"));
    wait_until("autovacuum came", seconds(30), || some("autoanalyze_count"));
    assert_eq!(db.of_run(run, "status"), "running", "it was over before");
    let_go(&db);
    assert_eq!(db.ended(run), "success");
}
