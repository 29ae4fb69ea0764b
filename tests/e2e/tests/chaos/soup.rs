//! Everything at once: a seed chooses the company, faults of QuickBooks, changes of its records while they are read, strikes
//! at points, and users who call whatever comes to their mind. Then it is quiet, one more call is made, and every rule holds.
//! Faults, changes and strikes are bound to the number of a request or of an arrival, so a seed can be played again:
//! QBO_RAW_SOUP_SEED=7.

use crate::stage::{STRIKES, Scene, Strike, recurs, side_by_side};
use crate::truth::{World, check};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use qbo_e2e::{AtLast, points, seconds, wait_until};
use qbo_sim::{Action, Fault, When};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FAULTS: [&str; 21] = [
    "401",
    "403-throttle",
    "429:0",
    "500",
    "502",
    "503:0",
    "504",
    "4001",
    "10000",
    "html",
    "empty",
    "bad-json",
    "invalid-utf8",
    "reset",
    "reset-headers",
    "reset-in-body:40",
    "truncate:60",
    "bad-gzip",
    "200-fault",
    "no-last-chunk",
    "lose-answer",
];

/// What users call. RUN stands for the newest run.
const CALLS: [&str; 12] = [
    "SELECT raw.qb_backfill('invoices', '2025-07-01', '2025-09-30', 20, 10)",
    "SELECT raw.qb_backfill('invoices', '2025-07-15', '2025-08-20', 3, 1000)",
    "SELECT raw.qb_backfill('customers', '2025-07-01', '2025-09-30', 30)",
    "SELECT raw.qb_cancel(RUN)",
    "SELECT raw.qb_resume(RUN)",
    "SELECT raw.qb_retry_failed('invoices')",
    "SELECT raw.qb_fill_gaps('invoices', '2025-07-01', '2025-09-30')",
    "SELECT raw.qb_tick()",
    "SELECT * FROM raw.qb_progress",
    "SELECT * FROM raw.qb_coverage('invoices')",
    "BEGIN; SELECT raw.qb_backfill('items', '2025-07-01', '2025-09-30'); ROLLBACK",
    "VACUUM raw.qb_invoices",
];

/// Faults begin and records change before this request.
const LAST: u64 = 25;

/// Seeds to play: so many, or the one that is to be played again.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("QBO_RAW_SOUP_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("QBO_RAW_SOUP").unwrap_or(200)).collect(),
    }
}

#[test]
fn nothing_is_lost_in_the_soup() {
    let seeds = seeds();
    let all = points();
    let all: Vec<&String> = all.iter().filter(|point| !point.starts_with("errand@")).collect();
    side_by_side(&seeds, |server, seed| {
        let mut random = Rng::with_seed(*seed);
        let scene = Scene::new(server, format!("seed {seed}"), random.usize(0..4));
        scene.db.set("qbo_raw.max_retries", &random.u32(0..5).to_string());
        scene.db.set("qbo_raw.fetch_threads", &random.u32(1..6).to_string());
        trouble(&scene, &mut random);
        let strikes: Vec<(&String, u32, Strike)> = (0..random.usize(0..3))
            .map(|_| {
                let (point, strike) = (*random.choice(&all).unwrap(), *random.choice(&STRIKES).unwrap());
                (point, if recurs(point) { random.u32(0..6) } else { 0 }, strike)
            })
            .collect();
        let quiet = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let users: Vec<_> = (0..random.usize(1..4))
                .map(|_| {
                    let mut random = random.fork();
                    let (scene, quiet) = (&scene, &quiet);
                    scope.spawn(move || user(scene, &mut random, quiet))
                })
                .collect();
            let _quiet = AtLast(|| quiet.store(true, Ordering::Relaxed));
            for (point, pass, strike) in &strikes {
                server.arm(point, *pass);
                let began = Instant::now();
                while server.held().is_none() && began.elapsed() < Duration::from_millis(700) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if let Some(pid) = server.held() {
                    scene.strike(pid, *strike);
                }
                server.disarm();
            }
            if strikes.is_empty() {
                std::thread::sleep(Duration::from_millis(300));
            }
            quiet.store(true, Ordering::Relaxed);
            // Who was about to be held when nobody was to be held any more is let go too.
            while !users.iter().all(|user| user.is_finished()) {
                server.disarm();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        server.wait_ready();
        // Whoever is struck may have spent a token whose answer nobody heard.
        calm(&scene, &World { cut_off: strikes.len() as i32, ..scene.world });
    });
    println!("{} seeds", seeds.len());
}

/// Faults of QuickBooks and changes of its records, each at the number of a request.
fn trouble(scene: &Scene, random: &mut Rng) {
    let sim = &scene.db.sim;
    for _ in 0..random.usize(0..6) {
        let fault = Fault::named(random.choice(&FAULTS).unwrap()).unwrap();
        sim.fault_times(When::From(random.u64(1..LAST)), fault, random.u32(1..4));
    }
    // Each record changes once, and its time only moves on, as that of QuickBooks does.
    let mut ids = sim.ids("Invoice");
    random.shuffle(&mut ids);
    for id in ids.into_iter().take(random.usize(0..10)) {
        let entity = "Invoice".to_owned();
        let action = match random.u8(0..4) {
            0 => Action::Update(entity, id),
            1 => Action::Insert(entity),
            2 => Action::Delete(entity, id),
            _ => {
                let record: serde_json::Value =
                    serde_json::from_str(&sim.record("Invoice", &id).unwrap()).unwrap();
                let changed: DateTime<Utc> =
                    record["MetaData"]["LastUpdatedTime"].as_str().unwrap().parse().unwrap();
                Action::MoveTo(entity, id, changed + TimeDelta::seconds(random.i64(1..30 * 86_400)))
            }
        };
        sim.act_before(random.u64(1..LAST), action);
    }
}

/// A person who does not know what the others do. The server may go away meanwhile.
fn user(scene: &Scene, random: &mut Rng, quiet: &AtomicBool) {
    let config = scene.db.server.config(&scene.db.name, "postgres");
    while !quiet.load(Ordering::Relaxed) {
        if let Ok(mut client) = config.connect(postgres::NoTls) {
            let newest = "(SELECT max(run_id) FROM raw.qb_run)";
            let _ = client.simple_query(&random.choice(&CALLS).unwrap().replace("RUN", newest));
        }
        std::thread::sleep(Duration::from_millis(random.u64(1..80)));
    }
}

/// Nothing fails any more: everything that was asked for ends, and one more call brings what is missing.
fn calm(scene: &Scene, world: &World) {
    let (db, name) = (&scene.db, &scene.name);
    db.sim.clear_faults();
    db.server.disarm();
    // With an access token that is still good, the loss of a refresh token would be noticed an hour later.
    db.sim.expire_access_tokens();
    let mut watch = db.watch();
    let live = "SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')";
    wait_until(&format!("{name}: everything ends"), seconds(40), || {
        watch.number("SELECT raw.qb_tick()");
        std::thread::sleep(Duration::from_millis(50));
        // Who had taken a point before it was taken back may come to be held there yet.
        db.server.release();
        watch.number(live) == 0
    });
    let refused = || db.value("SELECT auth_state FROM raw.qb_config") == "needs_reauth";
    let mut authorized = refused();
    if authorized {
        db.authorize();
    }
    db.set("qbo_raw.max_retries", "5");
    loop {
        // Whatever was still to change has changed before the last run begins.
        let last = db.sim.request_count() >= LAST;
        let call = "SELECT raw.qb_backfill('invoices', '2025-07-01', current_date, 40, 1000)";
        let run = watch.number(call);
        let status = watch.ended(run, seconds(30));
        if status == "blocked_auth" && world.rotates && !authorized {
            // The run whose token was spent unheard was cancelled before it could notice: it is said now.
            assert!(refused(), "{name}: blocked, and the connection does not say so");
            db.authorize();
            authorized = true;
            continue;
        }
        assert_eq!(
            status,
            "success",
            "{name}: {:?}\n{}",
            db.rows("SELECT * FROM raw.qb_run ORDER BY run_id DESC LIMIT 1"),
            db.log()
        );
        if last {
            break;
        }
    }
    check(watch.session(), db, "invoices", "Invoice", name, world);
    let wrong = db.rows(
        "SELECT v.id FROM chk.version v LEFT JOIN raw.qb_invoices d USING (id)
          WHERE v.until_request IS NULL AND v.payload IS NOT NULL AND v.payload IS DISTINCT FROM d.payload",
    );
    assert!(wrong.is_empty(), "{name}: missing or old: {wrong:?}");
    assert!(!db.log().contains("panicked"), "{name}: {}", db.log());
}
