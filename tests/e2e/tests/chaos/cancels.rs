//! `qb_cancel` while the worker is at a named point: wherever that is, the run ends by itself, and the worker lives.

use crate::stage::{Scene, recurs, side_by_side};
use crate::truth::check;
use qbo_e2e::{RANGE, points, seconds, wait_until};
use std::time::Duration;

/// Points of sessions, and of the workers of their questions, belong to no run.
const OF_NO_RUN: [&str; 2] = ["call@", "errand@"];

#[test]
fn a_run_is_cancelled_wherever_its_worker_is() {
    let points = points();
    let of_a_run = |point: &&String| !OF_NO_RUN.iter().any(|group| point.starts_with(group));
    let numbered: Vec<(usize, &String)> = points.iter().filter(of_a_run).enumerate().collect();
    side_by_side(&numbered, |server, (number, point)| {
        let pass = if recurs(point) { *number as u32 % 3 } else { 0 };
        let scene = Scene::new(server, format!("cancelled at {point}, arrival {}", pass + 1), *number);
        let (db, name, before) = (&scene.db, &scene.name, server.log_length());
        let mut watch = db.watch();
        scene.prepare(point);
        // Slow enough that windows are left when it is held, wherever that is before the end.
        db.sim.set_latency(Duration::from_millis(200));
        server.arm(point, pass);
        let run = watch.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 3)"));
        server.wait_held(name, seconds(20));
        // Who does not hear of it asks on, and that takes long.
        db.sim.set_latency(seconds(4));
        let all = "SELECT windows_done + windows_failed = windows_total FROM raw.qb_run";
        let done = watch.value(all) == "t";
        std::thread::scope(|scope| {
            let call = scope.spawn(|| db.exec(&format!("SELECT raw.qb_cancel({run})")));
            // It waits while the worker is held with the run's row in its hands.
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'qb_cancel[(]'";
            wait_until(name, seconds(20), || call.is_finished() || watch.number(waits) > 0);
            server.disarm();
        });
        // A token call under way is heard to its end; a tick would bring another worker, so there is none.
        let status = watch.ended(run, seconds(15));
        let whole = ["success", "partial"].contains(&status.as_str());
        assert_eq!((status == "cancelled", whole), (!done, done), "{name}: {status}\n{}", db.log());
        let log = server.log_from(before);
        assert!(!log.contains("exited with exit code"), "{name}: {log}");
        db.sim.set_latency(Duration::ZERO);
        db.sim.clear_faults();
        if status != "success" {
            db.exec(&format!("SELECT raw.qb_resume({run})"));
            assert_eq!(watch.ended(run, seconds(30)), "success", "{name}\n{}", db.log());
        }
        db.check_equal("invoices", "Invoice");
        check(watch.session(), db, "invoices", "Invoice", name, &scene.world);
    });
    println!("{} cancels", numbered.len());
}
