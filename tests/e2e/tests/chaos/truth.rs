//! Brings the simulator's ground truth into the database, where the views of `invariants.sql` judge by it.

use postgres::Client;
use qbo_e2e::{Database, rows};
use qbo_sim::{Request, TokenEvent};
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

/// What the views must know of the scene beside the truth.
#[derive(Clone, Copy, Default)]
pub struct World {
    /// Whether each redemption changes the refresh token.
    pub rotates: bool,
    /// How many answers of the token endpoint were cut off.
    pub cut_off: i32,
    /// Whether the documented rates were set.
    pub paced: bool,
}

/// Makes the views for an entity, whose tables must exist, and loads the truth as it is now.
pub fn load(client: &mut Client, db: &Database, entity: &str, qbo: &str, world: &World) {
    let made = "SELECT FROM pg_namespace WHERE nspname = 'chk' AND obj_description(oid) = $1";
    if client.query_opt(made, &[&entity]).unwrap().is_some() {
        let all = "TRUNCATE chk.src_version, chk.req, chk.token, chk.canary, chk.log, chk.world";
        client.batch_execute(all).unwrap();
    } else {
        client.batch_execute("DROP SCHEMA IF EXISTS chk CASCADE").unwrap();
        let views = include_str!("invariants.sql").replace("ENTITY", entity).replace("QBO", qbo);
        client.batch_execute(&views).unwrap();
    }
    let mut ids = db.sim.ids(qbo);
    ids.extend(db.sim.touched(qbo));
    ids.sort();
    ids.dedup();
    // Of several states before one request only the last could be seen.
    let mut versions = BTreeMap::new();
    for id in &ids {
        for version in db.sim.versions(qbo, id) {
            versions.insert((id, version.from_request as i64), version.json);
        }
    }
    let mut work = client.transaction().unwrap();
    let (keys, payloads): (Vec<_>, Vec<_>) = versions.into_iter().unzip();
    let (ids, from): (Vec<&String>, Vec<i64>) = keys.into_iter().unzip();
    work.execute(
        "INSERT INTO chk.src_version SELECT id, n, payload::jsonb FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u (id, n, payload)",
        &[&ids, &from, &payloads],
    )
    .unwrap();
    let requests = db.sim.requests();
    let number = |of: fn(&Request) -> i64| requests.iter().map(of).collect::<Vec<i64>>();
    let truth = |of: fn(&Request) -> bool| requests.iter().map(of).collect::<Vec<bool>>();
    let statements: Vec<&str> = requests.iter().map(|request| request.statement.as_str()).collect();
    work.execute(
        "INSERT INTO chk.req
         SELECT n, to_timestamp(0) + at * interval '1 microsecond', took * interval '1 microsecond', statement, status, rows, whole, faulted, abandoned
           FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::boolean[], $9::boolean[])
                AS u (n, at, took, statement, status, rows, whole, faulted, abandoned)",
        &[
            &number(|r| r.n as i64),
            &number(|r| r.at.duration_since(UNIX_EPOCH).unwrap().as_micros() as i64),
            &number(|r| r.took.as_micros() as i64),
            &statements,
            &number(|r| r.status.into()),
            &number(|r| r.rows as i64),
            &truth(|r| r.whole),
            &truth(|r| r.faulted),
            &truth(|r| r.abandoned),
        ],
    )
    .unwrap();
    let mut secrets = vec![db.sim.credentials().2];
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for event in db.sim.token_log() {
        let (name, value) = match event {
            TokenEvent::Issued(value) => ("issued", value),
            TokenEvent::AccessIssued(value) => ("access", value),
            TokenEvent::Redeemed(value) => ("redeemed", value),
            TokenEvent::Rejected(value) => ("rejected", value),
            TokenEvent::Revoked => ("revoked", String::new()),
        };
        if !value.is_empty() {
            secrets.push(value.clone());
        }
        names.push(name);
        values.push(value);
    }
    work.execute(
        "INSERT INTO chk.token SELECT seq, event, value FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (event, value, seq)",
        &[&names, &values],
    )
    .unwrap();
    work.execute("INSERT INTO chk.canary SELECT DISTINCT unnest($1::text[])", &[&secrets]).unwrap();
    work.execute("INSERT INTO chk.log VALUES ($1)", &[&db.log()]).unwrap();
    work.execute(
        "INSERT INTO chk.world VALUES ($1, $2, $3, '1 minute')",
        &[&world.rotates, &world.cut_off, &world.paced],
    )
    .unwrap();
    work.commit().unwrap();
}

/// Which rules are broken, and by what.
pub fn broken(client: &mut Client) -> Vec<Vec<String>> {
    let query = "SELECT rule, min(what), count(*) FROM chk.broken GROUP BY rule ORDER BY length(rule), rule";
    // To compile it takes longer than to run it.
    client.batch_execute("SET jit = off").unwrap();
    rows(client, query).unwrap()
}

/// Loads the truth and expects every rule to hold.
pub fn check(client: &mut Client, db: &Database, entity: &str, qbo: &str, scene: &str, world: &World) {
    load(client, db, entity, qbo, world);
    let found = broken(client);
    if !found.is_empty() {
        let asked = db.rows(
            "SELECT n, at, took, status, rows, whole, faulted, abandoned, statement FROM chk.req ORDER BY n",
        );
        let reports = db.rows(&format!("SELECT * FROM raw.backfill_report_{entity} ORDER BY report_id"));
        let runs = db.rows("SELECT * FROM raw.qb_run ORDER BY run_id");
        panic!("{scene}: {found:?}; asked: {asked:#?}, reports: {reports:#?}, runs: {runs:#?}");
    }
}
