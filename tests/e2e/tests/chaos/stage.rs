//! A server of one's own where somebody is held at a point and struck there, and what has to come of it.

use crate::truth::{World, check};
use qbo_e2e::{Database, RANGE, Server, Watch, is_alive, is_reaped, seconds, signal, wait_until};
use qbo_sim::{Fault, Options, TokenMode, When};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is done to a process that is held, or to what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    KillWorker,
    KillPostmaster,
    StopImmediate,
    RestartFast,
    Terminate,
    Cancel,
    KillQuickBooks,
    /// Its own code panics.
    Panic,
}

/// All that come from outside.
pub const STRIKES: [Strike; 7] = [
    Strike::KillWorker,
    Strike::KillPostmaster,
    Strike::StopImmediate,
    Strike::RestartFast,
    Strike::Terminate,
    Strike::Cancel,
    Strike::KillQuickBooks,
];

const MODES: [TokenMode; 4] = [TokenMode::Lazy, TokenMode::Strict, TokenMode::Grace, TokenMode::Family];

/// A point that is come to more than once in a run.
pub fn recurs(point: &str) -> bool {
    ["window@", "store@", "page@", "request@"].iter().any(|group| point.starts_with(group))
}

/// A scene: a company, and what becomes of its run.
pub struct Scene<'a> {
    pub db: Database<'a>,
    pub name: String,
    pub world: World,
}

impl<'a> Scene<'a> {
    /// With a company whose tokens rotate in one of the four ways.
    pub fn new(server: &'a Server, name: String, mode: usize) -> Self {
        let tokens = MODES[mode % MODES.len()];
        let counts = vec![("Invoice".to_owned(), 60)];
        let db = Database::on(server, Options { counts, tokens, ..Options::default() });
        Scene { db, name, world: World { rotates: tokens != TokenMode::Lazy, cut_off: 0, paced: false } }
    }

    /// The call that leads to a point, in a session of its own; it may be cut off.
    fn call(&self, point: &str) -> impl FnOnce() + Send + 'static {
        let config = self.db.server.config(&self.db.name, "postgres");
        let errand = format!("SELECT * FROM raw.qb_plan('invoices', {RANGE})");
        let calls = if point.starts_with("errand@") { vec![errand, backfill()] } else { vec![backfill()] };
        move || {
            for call in calls {
                if let Ok(mut client) = config.connect(postgres::NoTls) {
                    let _ = client.batch_execute(&call);
                }
            }
        }
    }

    /// Sees to it that a run will come to the point.
    pub fn prepare(&self, point: &str) {
        if point.starts_with("failure@") {
            self.db.set("qbo_raw.max_retries", "0");
            // One of the two is no count.
            for nth in [3, 4] {
                self.db.sim.fault_times(When::Nth(nth), Fault::named("500").unwrap(), 1);
            }
        }
    }

    /// Lets a run come to the point, and strikes there.
    pub fn play(&self, point: &str, pass: u32, strike: Strike) {
        let server = self.db.server;
        self.prepare(point);
        match strike {
            Strike::Panic => server.arm_panic(point, pass),
            _ => server.arm(point, pass),
        }
        let caller = std::thread::spawn(self.call(point));
        let pid = server.wait_held(&format!("{point} ({})", self.name), seconds(20));
        self.strike(pid, strike);
        caller.join().unwrap();
        server.disarm();
        server.wait_ready();
    }

    /// Strikes what comes to the point while the run is taken up again. False: nothing came there.
    pub fn play_again(&self, point: &str, strike: Strike) -> bool {
        let server = self.db.server;
        server.arm(point, 0);
        let (config, tick) = (server.config(&self.db.name, "postgres"), "SELECT raw.qb_tick()");
        let ticking = std::thread::spawn(move || {
            if let Ok(mut client) = config.connect(postgres::NoTls) {
                let _ = client.batch_execute(tick);
            }
        });
        let live = "SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')";
        let (began, mut watch) = (Instant::now(), self.db.watch());
        while server.held().is_none() && began.elapsed() < seconds(5) && watch.number(live) > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(watch);
        let held = server.held();
        if let Some(pid) = held {
            self.strike(pid, strike);
        }
        ticking.join().unwrap();
        server.disarm();
        server.wait_ready();
        held.is_some()
    }

    /// Strikes a process that is held, and lets it go on if it still can.
    pub fn strike(&self, pid: i32, strike: Strike) {
        let server = self.db.server;
        match strike {
            Strike::KillWorker => {
                signal(pid, libc::SIGKILL);
                wait_until(&format!("{}: it is gone", self.name), seconds(20), || is_reaped(pid));
                server.disarm();
            }
            Strike::KillPostmaster => {
                server.kill(server.postmaster());
                server.disarm();
                // Nobody outlives it for long: its place could not be taken.
                wait_until(&format!("{} leaves an orphan", self.name), seconds(20), || !is_alive(pid));
                self.start_again();
            }
            Strike::StopImmediate => {
                server.stop("immediate");
                server.disarm();
                server.start();
            }
            Strike::RestartFast => {
                std::thread::scope(|scope| {
                    scope.spawn(|| server.stop("fast"));
                    std::thread::sleep(Duration::from_millis(50));
                    server.disarm();
                });
                server.start();
            }
            Strike::Terminate => {
                signal(pid, libc::SIGTERM);
                server.disarm();
                wait_until(&format!("{} ends", self.name), seconds(15), || !is_alive(pid));
            }
            Strike::Panic => server.disarm(),
            Strike::Cancel => {
                signal(pid, libc::SIGINT);
                server.disarm();
            }
            Strike::KillQuickBooks => {
                self.db.sim.set_down(true);
                server.disarm();
                std::thread::sleep(Duration::from_millis(150));
                self.db.sim.set_down(false);
            }
        }
    }

    /// The other processes of a server that was killed may take a moment to leave.
    fn start_again(&self) {
        let began = Instant::now();
        while !self.db.server.try_start() {
            assert!(began.elapsed() < seconds(20), "{}: the server does not start", self.name);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Two ticks and at most one resume a strike bring everything, whatever was struck; then every rule holds.
    pub fn settle(&self, struck: &[Strike]) {
        let (db, name) = (&self.db, &self.name);
        let mut watch = db.watch();
        let mut run = watch.number("SELECT coalesce(max(run_id), 0) FROM raw.qb_run");
        if run == 0 {
            // The caller was cut off before it committed: nothing was queued, and nothing asked for.
            let asked = |request: &qbo_sim::Request| request.statement.starts_with("SELECT *");
            assert!(!db.sim.requests().iter().any(asked), "{name}: a request without a run");
            run = watch.number(&backfill());
        }
        let mut status = String::new();
        // Who was only interrupted goes on without one.
        let needs_tick = struck.iter().any(|strike| *strike != Strike::Cancel);
        for patience in [5, 30] {
            if needs_tick {
                watch.value("SELECT raw.qb_tick()");
            }
            if let Some(ended) = ended(&mut watch, run, seconds(patience)) {
                status = ended;
                break;
            }
        }
        db.sim.clear_faults();
        // Each strike may end the run once: one as failed, say, and one by the loss of a token that is only noticed then.
        for _ in struck {
            if status == "blocked_auth" {
                // The token was spent and its answer lost. Only a process that nobody asked may lose it; it has to be said, and
                // is mended by a person.
                let nobody_asked =
                    |strike| [Strike::KillWorker, Strike::StopImmediate, Strike::Panic].contains(strike);
                assert!(self.world.rotates && struck.iter().any(nobody_asked), "{name}: the token is lost");
                assert_eq!(watch.value("SELECT auth_state FROM raw.qb_config"), "needs_reauth", "{name}");
                db.authorize();
            }
            if ["partial", "failed", "blocked_auth"].contains(&status.as_str()) {
                watch.value(&format!("SELECT raw.qb_resume({run})"));
                status = watch.ended(run, seconds(20));
            }
        }
        assert_eq!(
            status,
            "success",
            "{name}: {:?}\n{}",
            db.rows(&format!("SELECT * FROM raw.qb_run WHERE run_id = {run}")),
            db.log()
        );
        watch.check_equal("invoices", "Invoice");
        // Whoever is struck may have spent a token whose answer nobody heard.
        let world = World { cut_off: struck.len() as i32, ..self.world };
        check(watch.session(), db, "invoices", "Invoice", name, &world);
        let panicked = struck.contains(&Strike::Panic) || db.log().contains("panicked");
        assert_eq!(panicked, struck.contains(&Strike::Panic), "{name}: {}", db.log());
    }
}

/// How a run ended, if it does within a time.
fn ended(watch: &mut Watch, run: i64, at_most: Duration) -> Option<String> {
    let began = Instant::now();
    loop {
        let status = watch.value(&format!("SELECT status FROM raw.qb_run WHERE run_id = {run}"));
        if !["queued", "running"].contains(&status.as_str()) {
            return Some(status);
        }
        if began.elapsed() > at_most {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn backfill() -> String {
    format!("SELECT raw.qb_backfill('invoices', {RANGE}, page_size => 10, chunk_days => 20)")
}

/// Settings of a server that is struck again and again.
pub const STRUCK: &str =
    "max_worker_processes = 20\nmax_connections = 40\nshared_buffers = 16MB\nautovacuum = off";

/// Does something for each of many, on some threads with a server each. What goes wrong with one keeps nobody from the others.
pub fn side_by_side<T: Sync>(all: &[T], each: impl Fn(&Server, &T) + Sync) {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut server = Server::private(STRUCK);
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| each(&server, one))).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        server = Server::private(STRUCK);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, 0, "{failed} of {} went wrong; what they said stands above", all.len());
}

/// So many servers at a time.
const THREADS: usize = 2;
