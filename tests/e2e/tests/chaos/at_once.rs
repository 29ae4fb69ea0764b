//! Thirty-two sessions want a token at the same moment, again and again, in each of the four ways that tokens rotate.

use qbo_e2e::{Database, RANGE, Server, seconds, wait_until};
use qbo_sim::{Options, TokenEvent, TokenMode};

/// How often in each mode.
fn rounds() -> usize {
    std::env::var("QBO_RAW_TOKEN_ROUNDS").map_or(100, |text| text.parse().expect("a number"))
}

#[test]
fn one_redemption_however_many_want_one() {
    let modes = [TokenMode::Lazy, TokenMode::Strict, TokenMode::Grace, TokenMode::Family];
    std::thread::scope(|scope| {
        for mode in modes {
            scope.spawn(move || in_mode(mode));
        }
    });
    println!("{} rounds of 32 sessions in each of {} modes", rounds(), modes.len());
}

fn in_mode(mode: TokenMode) {
    let counts = vec![("Item".to_owned(), 20)];
    // Each session may start a worker: on a server with others they could take all slots.
    let server = Server::private("");
    let db = Database::on(&server, Options { tokens: mode, counts, ..Options::default() });
    let mut sessions: Vec<_> = (0..32).map(|_| db.client()).collect();
    let mut watch = db.watch();
    for round in 0..rounds() {
        db.sim.expire_access_tokens();
        db.sim.rotate_next();
        let before = db.sim.redemptions();
        std::thread::scope(|scope| {
            for (session, client) in sessions.iter_mut().enumerate() {
                let call = format!("SELECT raw.qb_backfill('items', {RANGE}, {}, 1000)", 100 + session);
                scope.spawn(move || client.batch_execute(&call).unwrap());
            }
        });
        wait_until(&format!("{mode:?}, round {round}: all runs end"), seconds(60), || {
            watch.number("SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')") == 0
        });
        let bad = "SELECT count(*) FROM raw.qb_run WHERE status <> 'success'";
        assert_eq!(watch.number(bad), 0, "{mode:?}, round {round}");
        assert_eq!(watch.number("SELECT count(*) FROM raw.qb_run"), 32 * (round as i64 + 1));
        assert_eq!(db.sim.redemptions() - before, 1, "{mode:?}, round {round}: {:?}", db.sim.token_log());
        let newest = db.sim.credentials().3;
        let stored = watch.value("SELECT refresh_token FROM raw.qb_config");
        assert_eq!(stored, newest, "{mode:?}, round {round}");
    }
    let rejected = db.sim.token_log().iter().any(|event| matches!(event, TokenEvent::Rejected(_)));
    assert!(!rejected, "{mode:?}: {:?}", db.sim.token_log());
}
