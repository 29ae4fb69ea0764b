//! `raw.qb_check`: what it finds, and that it is content when that is mended.

use crate::verify::company;
use qbo_e2e::{Database, Server, seconds, wait_until};
use qbo_sim::{Fault, Options, When};

#[test]
fn the_doctor_finds_what_is_wrong() {
    let server = Server::private("max_worker_processes = 8");
    let db = Database::on(&server, Options::default());
    let wrong = |db: &Database| db.rows("SELECT subject, what_to_do <> '' FROM raw.qb_check() WHERE NOT ok");
    assert_eq!(wrong(&db), [["after a restart", "t"]], "neither preloaded nor a tick");
    assert_eq!(
        db.rows("SELECT subject FROM raw.qb_check()").concat(),
        [
            "server",
            "worker slots",
            "schema",
            "credentials",
            "token",
            "query",
            "clock",
            "after a restart",
            "runs"
        ]
    );
    db.sim.fault(When::Always, Fault::named("403").unwrap());
    assert_eq!(wrong(&db), [["query", "t"], ["after a restart", "t"]]);
    db.sim.clear_faults();
    db.exec("REVOKE USAGE ON SCHEMA raw FROM qbo_raw_owner, qbo_raw_reader");
    assert_eq!(wrong(&db)[0], ["schema", "t"]);
    db.exec("GRANT USAGE ON SCHEMA raw TO qbo_raw_owner, qbo_raw_reader");
    db.sim.revoke_tokens();
    db.sim.expire_access_tokens();
    db.exec("UPDATE raw.qb_config SET access_token = NULL, access_expires_at = NULL");
    assert_eq!(wrong(&db)[0], ["token", "t"]);
    assert_eq!(wrong(&db)[0], ["credentials", "t"], "now it is known");
    db.exec("UPDATE raw.qb_config SET refresh_token = NULL");
    assert_eq!(
        db.rows("SELECT result FROM raw.qb_check() WHERE subject = 'credentials'"),
        [["not set: refresh_token"]]
    );
    assert_eq!(db.refused("SELECT * FROM raw.qb_check('nobody')").sqlstate, "22023");
    let off =
        Database::on(&server, Options { clock_skew: chrono::TimeDelta::minutes(10), ..Options::default() });
    assert_eq!(wrong(&off)[0], ["clock", "t"]);
}

#[test]
fn the_doctor_knows_what_was_mended() {
    let db = company();
    let runs = "SELECT ok, result FROM raw.qb_check() WHERE subject = 'runs'";
    db.sim.fault(When::Statement("LastUpdatedTime >= '2025-08-".to_owned()), Fault::named("4001").unwrap());
    let run = db.queue("invoices");
    assert_eq!(db.ended(run), "partial");
    db.exec("INSERT INTO raw.qb_run SELECT (jsonb_populate_record(r, '{\"run_id\": 1000, \"status\": \"blocked_auth\",
               \"start_date\": \"2025-06-01\", \"windows\": [\"[2025-08-05Z,2025-08-12Z)\"]}')).* FROM raw.qb_run r");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.rows(runs), [["f", "2 ended in the last week, 2 of them not whole"]]);
    db.sim.clear_faults();
    db.exec("CALL raw.qb_wait(raw.qb_backfill_windows('invoices', ARRAY[tstzrange('2025-08-05Z', '2025-08-12Z')]))");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.rows(runs), [["f", "3 ended in the last week, 2 of them not whole, 1 mended since"]]);
    db.exec("CALL raw.qb_wait(raw.qb_retry_failed('invoices'))");
    wait_until("the worker left", seconds(30), || !db.has_worker());
    assert_eq!(db.rows(runs), [["t", "4 ended in the last week, 2 of them not whole, 2 mended since"]]);
}

#[test]
fn the_doctor_sees_who_may_place_functions_beside_ours() {
    let server = Server::private("");
    let db = Database::on(&server, Options::default());
    let wrong = "SELECT result, what_to_do FROM raw.qb_check() WHERE subject = 'rights'";
    assert!(db.rows(wrong).is_empty());
    db.exec(
        "CREATE ROLE stranger; GRANT CREATE ON SCHEMA raw TO PUBLIC, stranger; SET ROLE stranger;
         CREATE FUNCTION raw.qb_backfill(text, text, text) RETURNS bigint RETURN 1; RESET ROLE;
         CREATE ROLE landlord; ALTER SCHEMA raw OWNER TO landlord",
    );
    let found = db.rows(wrong);
    let mut results: Vec<_> = found.iter().map(|row| row[0].as_str()).collect();
    results.sort_unstable();
    assert_eq!(
        results,
        [
            "PUBLIC may create objects in schema raw",
            "function raw.qb_backfill(text,text,text) belongs to stranger, who is no superuser",
            "schema raw belongs to landlord, who is no superuser",
            "stranger may create objects in schema raw",
        ]
    );
    for row in found {
        db.exec(row[1].split_once(';').unwrap().0);
    }
    assert!(db.rows(wrong).is_empty());
    assert_eq!(db.value("SELECT to_regprocedure('raw.qb_backfill(text, text, text)')"), "");
}

#[test]
fn the_doctor_looks_at_the_house_before_secrets_are_in_it() {
    let db = Database::new();
    db.exec("DELETE FROM raw.qb_config");
    let wrong =
        || db.rows("SELECT subject FROM raw.qb_check() WHERE NOT ok AND subject <> 'worker slots'").concat();
    assert_eq!(wrong(), ["connection"]);
    db.exec("CREATE PUBLICATION everything FOR ALL TABLES; GRANT CREATE ON SCHEMA raw TO PUBLIC");
    assert_eq!(wrong(), ["rights", "publication", "connection"]);
}
