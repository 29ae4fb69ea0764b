//! A standby takes over while a run works. What was reported as stored is there, where PostgreSQL was told to wait for the
//! standby; and whatever is not there is not reported there, and fetched again.

use crate::hazards::HALF_STORED;
use crate::launcher::{PRELOADED, hold_back, let_go, slow, stored};
use qbo_e2e::{AtLast, Database, RANGE, Server, is_alive, rows, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, TokenMode, When};

/// How often each kind of promotion is done.
fn rounds() -> usize {
    std::env::var("QBO_RAW_PROMOTIONS").map_or(1, |text| text.parse().expect("a number"))
}

#[test]
fn a_standby_promoted_in_mid_run_goes_on() {
    for (settings, windows) in [(PRELOADED, 4), ("", 1), ("", 20), (PRELOADED, 40), ("", 60)].repeat(rounds())
    {
        let primary = Server::private(settings);
        let db = Database::on(&primary, slow());
        let standby = Server::standby(&primary, "");
        hold_back(&db);
        let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
        stored(&db, run, windows);
        db.sim.set_latency(seconds(2));
        let launchers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'qbo_raw%'";
        let on_standby =
            |text: &str| rows(&mut standby.connect(&db.name, "postgres").unwrap(), text).unwrap().concat();
        wait_until("the standby follows", seconds(30), || {
            on_standby(&format!("SELECT windows_done >= {windows} FROM raw.qb_run WHERE run_id = {run}"))
                == ["t"]
        });
        assert_eq!(on_standby(launchers), ["0"], "nothing works on a standby");
        let refused =
            qbo_e2e::refused(&mut standby.connect(&db.name, "postgres").unwrap(), "SELECT raw.qb_tick()");
        assert_eq!(refused.sqlstate, "25006");
        assert_eq!(on_standby("SELECT ok, result FROM raw.qb_check() LIMIT 1"), ["f", "a standby"]);
        primary.stop("immediate");
        let_go(&db);
        db.sim.set_latency(slow().latency);
        standby.promote();
        if settings.is_empty() {
            assert_eq!(
                on_standby(&format!("SELECT status FROM raw.qb_run WHERE run_id = {run}")),
                ["running"]
            );
            assert_eq!(on_standby("SELECT raw.qb_tick()"), ["1"]);
        }
        wait_until("it goes on", seconds(20), || {
            on_standby(&format!("SELECT attempt FROM raw.qb_run WHERE run_id = {run}")) == ["2"]
        });
        wait_until("it ends", seconds(30), || {
            on_standby(&format!("SELECT status FROM raw.qb_run WHERE run_id = {run}")) == ["success"]
        });
        assert_eq!(on_standby("SELECT count(*) FROM raw.qb_invoices"), [db.sim.count("Invoice").to_string()]);
        // Whatever the old primary had committed and not sent was fetched again.
        let whole = format!("SELECT count(*) FROM raw.qb_gaps('invoices', {RANGE})");
        assert_eq!(on_standby(&whole), ["0"]);
    }
}

/// What commits wait for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Waits {
    /// The standby has them on its disk.
    Standby,
    /// Our own disk, except where a token is concerned: it must not be lost whatever the database is set to.
    StandbyForTokens,
    /// Our own disk; there is no synchronous standby.
    Nobody,
}

/// Commits wait for the standby while this lives: what comes after a test that failed must not.
fn synchronous(db: &Database, primary: &Server) -> AtLast<impl FnMut()> {
    let synchronous = primary.synchronous("*");
    let state = "SELECT sync_state FROM pg_stat_replication";
    wait_until("the standby is synchronous", seconds(30), || db.value(state) == "sync");
    synchronous
}

/// Whether the receiver of a standby waits for more to come.
const WAITS: &str = "SELECT count(*) FILTER (WHERE wait_event = 'WalReceiverMain') > 0 FROM pg_stat_activity WHERE backend_type = 'walreceiver'";

/// Stops a receiver where it waits. Stopped while it reads, it would read all that has come before it heard that it is to
/// end. It goes on at the end of the scope: others may wait for it.
fn deafen(receiver: i32, waits: impl Fn() -> bool) -> AtLast<impl FnMut()> {
    let deaf = AtLast(move || signal(receiver, libc::SIGCONT));
    let is_stopped =
        || std::fs::read_to_string(format!("/proc/{receiver}/stat")).is_ok_and(|stat| stat.contains(") T "));
    wait_until("the receiver is stopped where it waits", seconds(30), || {
        signal(receiver, libc::SIGSTOP);
        wait_until("the receiver is stopped", seconds(30), is_stopped);
        let found = waits();
        if !found {
            signal(receiver, libc::SIGCONT);
        }
        found
    });
    deaf
}

#[test]
fn what_was_reported_before_a_failover_is_there_where_commits_wait_for_the_standby() {
    for waits in [Waits::Standby, Waits::StandbyForTokens, Waits::Nobody].repeat(rounds()) {
        // It is killed and never comes back: what its processes share has to go with its directory.
        let primary = Server::private("dynamic_shared_memory_type = mmap");
        // A refresh token is good once. One that was spent and whose successor was lost would end the run.
        let tokens = if waits == Waits::Nobody { TokenMode::Lazy } else { TokenMode::Strict };
        let db = Database::on(&primary, Options { tokens, ..slow() });
        let standby = Server::standby(&primary, "");
        let _synchronous = (waits != Waits::Nobody).then(|| synchronous(&db, &primary));
        if waits == Waits::StandbyForTokens {
            db.set("synchronous_commit", "local");
        }
        hold_back(&db);
        let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 1)"));
        stored(&db, run, 5);
        let there =
            |text: &str| rows(&mut standby.connect(&db.name, "postgres").unwrap(), text).unwrap().concat();

        // From here on the standby hears nothing.
        let receiver = there("SELECT pid FROM pg_stat_wal_receiver")[0].parse().unwrap();
        let deaf = deafen(receiver, || there(WAITS) == ["t"]);
        let (done, worker) = (db.number("SELECT windows_done FROM raw.qb_run"), db.worker());
        // Also when the last days have been reached: those that were asked for are answered then.
        let more = || {
            db.sim.release();
            db.number("SELECT windows_done FROM raw.qb_run") - done
        };
        if waits != Waits::Standby {
            wait_until("a window is stored that the standby does not hear of", seconds(20), || more() >= 1);
        }
        db.sim.expire_access_tokens();
        let held = format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {worker}");
        wait_until("it waits for the standby, or goes on without it", seconds(20), || {
            more() >= 8 || db.value(&held) == "t"
        });
        let reported = "SELECT window_start FROM raw.backfill_report_invoices WHERE status = 'success'";
        let before = db.rows(reported).concat();
        primary.kill(primary.postmaster());
        wait_until("its worker is gone", seconds(30), || !is_alive(worker));
        // It ends before it reads what is still on its way.
        signal(receiver, libc::SIGTERM);
        drop(deaf);
        let_go(&db);
        wait_until("the receiver is gone", seconds(30), || !is_alive(receiver));
        standby.promote();

        let after = there(reported);
        let lost = before.iter().filter(|window| !after.contains(window)).count();
        assert_eq!(
            lost == 0,
            waits == Waits::Standby,
            "{waits:?}: {lost} of {} windows are lost",
            before.len()
        );
        assert_eq!(there(HALF_STORED), ["0"], "{waits:?}: windows that are neither whole nor absent");
        let status = format!("SELECT status, attempt FROM raw.qb_run WHERE run_id = {run}");
        assert_eq!(there(&status), ["running", "1"], "{waits:?}");
        assert_eq!(there("SELECT raw.qb_tick()"), ["1"], "{waits:?}");
        wait_until("it ends", seconds(30), || !["queued", "running"].contains(&there(&status)[0].as_str()));
        assert_eq!(there(&status), ["success", "2"], "{waits:?}: {}", standby.log());
        assert_eq!(there("SELECT count(*) FROM raw.qb_invoices"), [db.sim.count("Invoice").to_string()]);
        assert_eq!(there(&format!("SELECT count(*) FROM raw.qb_gaps('invoices', {RANGE})")), ["0"]);
        assert_eq!(there("SELECT refresh_token FROM raw.qb_config"), [db.sim.credentials().3], "{waits:?}");
    }
}

/// A standby that commits wait for may go just when a token was spent, or a consent.
#[test]
fn a_token_that_waits_for_a_standby_does_not_keep_the_worker_from_ending() {
    let primary = Server::private("");
    let db = Database::on(&primary, Options { tokens: TokenMode::Strict, ..Options::default() });
    let standby = Server::standby(&primary, "");
    let _synchronous = synchronous(&db, &primary);
    let there =
        |text: &str| rows(&mut standby.connect(&db.name, "postgres").unwrap(), text).unwrap().concat();
    let spends = |worker: &dyn Fn() -> i32| {
        let receiver = there("SELECT pid FROM pg_stat_wal_receiver")[0].parse().unwrap();
        let deaf = deafen(receiver, || there(WAITS) == ["t"]);
        let worker = worker();
        db.sim.clear_faults();
        db.sim.release();
        let held = format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {worker}");
        wait_until("it waits for the standby", seconds(30), || db.value(&held) == "t");
        db.exec(&format!("SELECT pg_terminate_backend({worker})"));
        let took = wait_until("it ends", seconds(30), || !is_alive(worker));
        assert!(took < seconds(20), "{took:?}");
        drop(deaf);
        assert_eq!(db.value("SELECT refresh_token FROM raw.qb_config"), db.sim.credentials().3);
    };

    let callback = db.consent("default");
    let asked = stalled(&db);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // What became of it nobody can tell the caller.
            let _ = db.client().execute("SELECT raw.qb_authorize($1)", &[&callback]);
        });
        wait_until("the code is being spent", seconds(30), || db.sim.token_calls() > asked);
        let errand = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'qbo_raw errand'";
        spends(&|| db.number(errand) as i32);
    });

    db.sim.expire_access_tokens();
    let asked = stalled(&db);
    let run = db.queue("items");
    wait_until("the token is being spent", seconds(30), || db.sim.token_calls() > asked);
    spends(&|| db.worker());
    db.exec("SELECT raw.qb_tick()");
    assert_eq!(db.ended(run), "success");
}

/// A primary that is cut off may be replaced at any moment: who gives the run up there, spends nothing more.
#[test]
fn a_run_that_is_cancelled_while_its_intent_waits_spends_no_token() {
    let primary = Server::private("");
    let db = Database::on(&primary, Options { tokens: TokenMode::Strict, ..Options::default() });
    let standby = Server::standby(&primary, "");
    let _synchronous = synchronous(&db, &primary);
    // Only what has to do with tokens waits.
    db.set("synchronous_commit", "local");
    let there =
        |text: &str| rows(&mut standby.connect(&db.name, "postgres").unwrap(), text).unwrap().concat();
    let receiver = there("SELECT pid FROM pg_stat_wal_receiver")[0].parse().unwrap();
    let _deaf = deafen(receiver, || there(WAITS) == ["t"]);
    db.sim.expire_access_tokens();
    let asked = db.sim.token_calls();
    let run = db.queue("items");
    let worker = db.worker();
    let held = format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {worker}");
    wait_until("its intent waits for the standby", seconds(30), || db.value(&held) == "t");
    db.exec(&format!("SELECT raw.qb_cancel({run})"));
    assert_eq!(db.ended(run), "cancelled");
    assert_eq!(db.sim.token_calls(), asked);
}

/// Token calls are held back from now on; how many there were before.
fn stalled(db: &Database) -> u64 {
    db.sim.fault(When::Token, Fault::Stall(seconds(60)));
    db.sim.token_calls()
}
