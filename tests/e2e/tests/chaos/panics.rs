//! A panic of our own code, at every named point: it costs a window or a session, never the server, and the run goes on.

use crate::stage::{Scene, Strike, recurs, side_by_side};
use qbo_e2e::{Database, RANGE, points, seconds};
use qbo_sim::Options;

/// Points that fetch threads come to while they work on a window.
const ON_A_THREAD: &[&str] = &[
    "window@taken",
    "request@waiting",
    "request@leaving",
    "request@answered",
    "page@kept",
    "window@fetched",
];

/// What the postmaster says when it has to begin anew.
const CRASHED: &str = "all server processes terminated; reinitializing";

#[test]
fn a_panic_at_any_point_is_no_crash() {
    let points = points();
    let numbered: Vec<(usize, &String)> = points.iter().enumerate().collect();
    side_by_side(&numbered, |server, (number, point)| {
        let pass = if recurs(point) { *number as u32 % 3 } else { 0 };
        let scene = Scene::new(server, format!("panic at {point}, arrival {}", pass + 1), *number);
        let before = server.log_length();
        scene.play(point, pass, Strike::Panic);
        scene.settle(&[Strike::Panic]);
        assert!(server.panicked(), "{}: nobody panicked", scene.name);
        let log = server.log_from(before);
        assert!(!log.contains(CRASHED), "{}: {log}", scene.name);
    });
    println!("{} panics", points.len());
}

#[test]
fn a_panic_on_a_fetch_thread_fails_its_window_which_says_so() {
    side_by_side(ON_A_THREAD, |server, point| {
        let db = Database::on(server, Options::default());
        // What a thread held in its hand when it panicked is free for the others: there is only one place.
        db.set("qbo_raw.fetch_threads", "1");
        server.arm_panic(point, 3);
        let run = db.number(&format!("SELECT raw.qb_backfill('invoices', {RANGE}, 20, 50)"));
        server.wait_held(point, seconds(20));
        server.release();
        assert_eq!(db.ended(run), "partial", "{point}");
        let said = db.rows(
            "SELECT error_code, error_message FROM raw.backfill_report_invoices WHERE status = 'error'",
        );
        let hint = "The server log says where. To try again: SELECT raw.qb_resume(run_id);";
        assert_eq!(said, [["internal".to_owned(), format!("a fetch thread panicked. {hint}")]], "{point}");
        // The same process went on with what came next.
        assert_eq!(db.rows("SELECT windows_done, attempt FROM raw.qb_run"), [["4", "1"]], "{point}");
        assert!(db.log().contains("thread 'qbo_raw fetch'"), "{}", db.log());
        let again = db.number(&format!("SELECT raw.qb_resume({run})"));
        assert_eq!(db.ended(again), "success", "{point}");
        db.check_equal("invoices", "Invoice");
        db.check_reports("invoices", run);
        assert!(!db.log().contains(CRASHED), "{point}");
    });
}
