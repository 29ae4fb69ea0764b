//! Brings the simulator's ground truth into the database, where the views of `invariants.sql` judge by it.

use qbo_e2e::Database;
use qbo_sim::TokenEvent;
use std::time::UNIX_EPOCH;

/// What the views must know of the scene beside the truth.
#[derive(Default)]
pub struct World {
    /// Whether each redemption changes the refresh token.
    pub rotates: bool,
    /// How many answers of the token endpoint were cut off.
    pub cut_off: i32,
    /// Whether the documented rates were set.
    pub paced: bool,
}

/// Makes the views for an entity, whose tables must exist, and loads the truth as it is now.
pub fn load(db: &Database, entity: &str, qbo: &str, world: &World) {
    db.exec("DROP SCHEMA IF EXISTS chk CASCADE");
    db.exec(&include_str!("invariants.sql").replace("ENTITY", entity).replace("QBO", qbo));
    let mut client = db.client();
    let mut ids = db.sim.ids(qbo);
    ids.extend(db.sim.touched(qbo));
    ids.sort();
    ids.dedup();
    let add = client
        .prepare("INSERT INTO chk.src_version SELECT $1::text, $2::bigint, $3::text::jsonb ON CONFLICT (id, from_request) DO UPDATE SET payload = excluded.payload")
        .unwrap();
    let mut work = client.transaction().unwrap();
    for id in ids {
        for version in db.sim.versions(qbo, &id) {
            work.execute(&add, &[&id, &(version.from_request as i64), &version.json]).unwrap();
        }
    }
    for r in db.sim.requests() {
        let at = r.at.duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        work.execute(
            "INSERT INTO chk.req SELECT $1::bigint, to_timestamp(0) + $2::bigint * interval '1 microsecond',
                    $3::bigint * interval '1 microsecond', $4::text, $5::int, $6::int, $7::boolean, $8::boolean",
            &[
                &(r.n as i64),
                &at,
                &(r.took.as_micros() as i64),
                &r.statement,
                &i32::from(r.status),
                &(r.rows as i32),
                &r.whole,
                &r.faulted,
            ],
        )
        .unwrap();
    }
    let mut secrets = vec![db.sim.credentials().2];
    for (seq, event) in db.sim.token_log().into_iter().enumerate() {
        let (name, value) = match event {
            TokenEvent::Issued(value) => ("issued", value),
            TokenEvent::AccessIssued(value) => ("access", value),
            TokenEvent::Redeemed(value) => ("redeemed", value),
            TokenEvent::Rejected(value) => ("rejected", value),
            TokenEvent::Revoked => ("revoked", String::new()),
        };
        work.execute("INSERT INTO chk.token VALUES ($1, $2, $3)", &[&(seq as i64), &name, &value]).unwrap();
        if !value.is_empty() {
            secrets.push(value);
        }
    }
    for secret in &secrets {
        work.execute("INSERT INTO chk.canary VALUES ($1) ON CONFLICT DO NOTHING", &[secret]).unwrap();
    }
    work.execute("INSERT INTO chk.log VALUES ($1)", &[&db.server.log()]).unwrap();
    work.execute(
        "INSERT INTO chk.world VALUES ($1, $2, $3, '1 minute')",
        &[&world.rotates, &world.cut_off, &world.paced],
    )
    .unwrap();
    work.commit().unwrap();
}

/// Which rules are broken, and by what.
pub fn broken(db: &Database) -> Vec<Vec<String>> {
    db.rows("SELECT rule, min(what), count(*) FROM chk.broken GROUP BY rule ORDER BY length(rule), rule")
}

/// Loads the truth and expects every rule to hold.
pub fn check(db: &Database, entity: &str, qbo: &str, scene: &str, world: &World) {
    load(db, entity, qbo, world);
    let found = broken(db);
    if !found.is_empty() {
        let asked =
            db.rows("SELECT n, at, took, status, rows, whole, faulted, statement FROM chk.req ORDER BY n");
        let reports = db.rows(&format!("SELECT * FROM raw.backfill_report_{entity} ORDER BY report_id"));
        let runs = db.rows("SELECT * FROM raw.qb_run ORDER BY run_id");
        panic!("{scene}: {found:?}; asked: {asked:#?}, reports: {reports:#?}, runs: {runs:#?}");
    }
}
