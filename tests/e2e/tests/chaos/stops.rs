//! Stopping a hundred times: in every state, in every way, and how long the slowest took.

use crate::stage::side_by_side;
use qbo_e2e::{Database, RANGE, Server, is_alive, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, When};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Stall,
    BackOff,
    LockWait,
    LongStatement,
    ManyWindows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Cancel,
    Terminate,
    DropDatabase,
    FastShutdown,
}

const STATES: [State; 5] =
    [State::Stall, State::BackOff, State::LockWait, State::LongStatement, State::ManyWindows];
const STOPS: [Stop; 4] = [Stop::Cancel, Stop::Terminate, Stop::DropDatabase, Stop::FastShutdown];

/// How often each stop is tried in each state.
fn times() -> usize {
    std::env::var("QBO_RAW_STOPS").map_or(5, |text| text.parse().expect("a number"))
}

/// A run in this state, and what keeps it there.
fn run_in(db: &Database, state: State) -> (i64, Option<postgres::Client>) {
    let call = format!("SELECT raw.qb_backfill('invoices', {RANGE}, 7)");
    match state {
        State::Stall => db.sim.fault(When::From(3), Fault::Stall(seconds(30))),
        State::BackOff => {
            db.set("qbo_raw.retry_delay", "30s");
            db.sim.fault(When::From(3), Fault::named("503").unwrap());
        }
        State::ManyWindows => {
            db.sim.set_latency(Duration::from_millis(20));
            // However late it is stopped, it is not over.
            db.sim.fault(
                When::Statement("LastUpdatedTime >= '2025-09-2".to_owned()),
                Fault::Stall(seconds(60)),
            );
        }
        State::LockWait | State::LongStatement => {
            db.exec(&format!("CALL raw.qb_wait(raw.qb_backfill('invoices', {RANGE}, 92, 1000))"));
            db.sim.change("Invoice", 0.5);
        }
    }
    let mut holder = None;
    if state == State::LockWait {
        let mut client = db.client();
        client.batch_execute("BEGIN; LOCK TABLE raw.qb_invoices IN ACCESS EXCLUSIVE MODE").unwrap();
        holder = Some(client);
    }
    if state == State::LongStatement {
        db.exec(
            "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON raw.qb_invoices FOR EACH ROW EXECUTE FUNCTION public.slow();
             GRANT EXECUTE ON FUNCTION public.slow() TO PUBLIC; DELETE FROM raw.qb_invoices",
        );
    }
    let call = if state == State::ManyWindows { call.replace(", 7)", ", 1)") } else { call };
    let run = db.number(&call);
    let waits = |event: &str| {
        let find = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qbo_raw worker' AND datname = '{}' AND wait_event = '{event}'",
            db.name
        );
        db.server.connect("postgres", "postgres").unwrap().query_one(&find, &[]).unwrap().get::<_, i64>(0) > 0
    };
    wait_until(&format!("{state:?} is reached"), seconds(20), || match state {
        State::Stall => db.sim.request_count() >= 3,
        State::BackOff => db.sim.request_count() >= 4,
        State::LockWait => waits("relation"),
        State::LongStatement => waits("PgSleep"),
        State::ManyWindows => db.sim.request_count() >= 10,
    });
    (run, holder)
}

fn stop(server: &Server, db: Database, run: i64, holder: Option<postgres::Client>, how: Stop) -> Duration {
    let worker = db.worker();
    let mut watch = db.watch();
    watch.session();
    let mut admin = server.connect("postgres", "postgres").unwrap();
    let began = Instant::now();
    let gone = || {
        wait_until("the worker is gone", seconds(20), || !is_alive(worker));
        began.elapsed()
    };
    let took = match how {
        Stop::Cancel => {
            watch.session().batch_execute(&format!("SELECT raw.qb_cancel({run})")).unwrap();
            assert_eq!(watch.ended(run, seconds(60)), "cancelled");
            began.elapsed()
        }
        Stop::Terminate => {
            signal(worker, libc::SIGTERM);
            gone()
        }
        // What follows when nobody is in the way any more, a checkpoint and the files, is PostgreSQL's own affair.
        Stop::DropDatabase => std::thread::scope(|scope| {
            let drop = format!("DROP DATABASE {} WITH (FORCE)", db.name);
            let dropping = scope.spawn(move || admin.batch_execute(&drop));
            let took = gone();
            dropping.join().unwrap().unwrap();
            took
        }),
        Stop::FastShutdown => {
            server.stop("fast");
            assert!(!is_alive(worker));
            began.elapsed()
        }
    };
    drop(holder);
    if how == Stop::FastShutdown {
        server.start();
    }
    took
}

#[test]
fn a_hundred_stops_are_all_obeyed() {
    let mut all = Vec::new();
    for round in 0..times() {
        for state in STATES {
            all.extend(STOPS.map(|how| (round, state, how)));
        }
    }
    let took: Mutex<BTreeMap<Stop, Vec<(State, Duration)>>> = Mutex::new(BTreeMap::new());
    side_by_side(&all, |server, (_, state, how)| {
        let counts = vec![("Invoice".to_owned(), 60)];
        let db = Database::on(server, Options { counts, ..Options::default() });
        let (run, holder) = run_in(&db, *state);
        let time = stop(server, db, run, holder, *how);
        assert!(time <= promised(*how).1, "{how:?} in {state:?} took {time:?}");
        took.lock().unwrap().entry(*how).or_default().push((*state, time));
    });
    let took = took.into_inner().unwrap();
    for (how, times) in &took {
        let slowest = times.iter().map(|(_, time)| time).max().unwrap();
        println!("{how:?}: {} times, the slowest {slowest:?}", times.len());
    }
    for (how, times) in &took {
        let most = promised(*how).0;
        let all = sorted(times, |_| true);
        let quarter = all[all.len() * 3 / 4];
        assert!(quarter <= most, "{how:?}: a quarter of all took {quarter:?} or more");
        for state in STATES {
            let here = sorted(times, |other| other == state);
            // A stop or two say nothing.
            let half = here[here.len() / 2];
            assert!(
                here.len() < 3 || half <= most,
                "{how:?} in {state:?}: half of all took {half:?} or more"
            );
        }
    }
}

/// How long a stop takes, and how long one may take when the machine has no time for it.
fn promised(how: Stop) -> (Duration, Duration) {
    if how == Stop::FastShutdown { (seconds(3), seconds(10)) } else { (seconds(1), seconds(5)) }
}

/// How long they took in some states.
fn sorted(times: &[(State, Duration)], of: impl Fn(State) -> bool) -> Vec<Duration> {
    let mut times: Vec<Duration> =
        times.iter().filter(|(state, _)| of(*state)).map(|(_, time)| *time).collect();
    times.sort_unstable();
    times
}
