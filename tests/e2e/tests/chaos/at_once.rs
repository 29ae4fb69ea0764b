//! Thirty-two sessions want a token at the same moment, again and again, in each of the four ways that tokens rotate.

use qbo_e2e::{Database, RANGE, seconds, wait_until};
use qbo_sim::{Options, TokenEvent, TokenMode};

/// How often in each mode.
fn rounds() -> usize {
    std::env::var("QBO_RAW_TOKEN_ROUNDS").map_or(5, |text| text.parse().expect("a number"))
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
    let db = Database::with(Options { tokens: mode, counts, ..Options::default() });
    for round in 0..rounds() {
        db.sim.expire_access_tokens();
        db.sim.rotate_next();
        let before = db.sim.redemptions();
        std::thread::scope(|scope| {
            for session in 0..32 {
                let db = &db;
                scope.spawn(move || {
                    db.number(&format!("SELECT raw.qb_backfill('items', {RANGE}, {}, 1000)", 100 + session))
                });
            }
        });
        wait_until(&format!("{mode:?}, round {round}: all runs end"), seconds(60), || {
            db.number("SELECT count(*) FROM raw.qb_run WHERE status IN ('queued', 'running')") == 0
        });
        assert_eq!(db.number("SELECT count(*) FROM raw.qb_run WHERE status <> 'success'"), 0, "{mode:?}");
        assert_eq!(db.sim.redemptions() - before, 1, "{mode:?}, round {round}: {:?}", db.sim.token_log());
        let newest = db.sim.credentials().3;
        assert_eq!(db.value("SELECT refresh_token FROM raw.qb_config"), newest, "{mode:?}, round {round}");
    }
    let rejected = db.sim.token_log().iter().any(|event| matches!(event, TokenEvent::Rejected(_)));
    assert!(!rejected, "{mode:?}: {:?}", db.sim.token_log());
}
