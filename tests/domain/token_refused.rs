//! The renewal of a token when Intuit or the config table says no.

use super::token::{failed, granted, invalid_grant, play, posting, row};
use qbo_raw::domain::fault::{Failure, Scope};
use qbo_raw::domain::token::{Event, Renewal, Saved, Step, Stored, TokenAnswer};

fn in_state(state: &str) -> Event {
    match row(4, "r4", Some(3_000)) {
        Event::Row(Some(stored)) => Event::Row(Some(Stored { auth_state: state.to_owned(), ..stored })),
        other => other,
    }
}

fn refused_row(event: Event) -> Failure {
    let mut machine = Renewal::new(None);
    let mut last =
        play(&mut machine, vec![(Event::Start, "lock"), (Event::Locked(true), "read"), (event, "unlock")]);
    assert!(matches!(last, Step::Unlock));
    last = machine.step(Event::Unlocked);
    failed(last)
}

#[test]
fn without_credentials_nothing_is_posted() {
    for (event, code) in [
        (Event::Row(None), "not_configured"),
        (in_state("needs_reauth"), "needs_reauth"),
        (in_state("bad_client"), "bad_client"),
        (row(4, "", None), "needs_reauth"),
    ] {
        let failure = refused_row(event);
        assert_eq!((failure.code.as_str(), failure.sqlstate), (code, "28000"));
        assert_eq!(failure.scope, Scope::Blocked, "a person is needed");
    }
}

#[test]
fn a_rejected_token_is_looked_at_once_more_and_marked_once() {
    let mut machine = posting();
    let last = play(
        &mut machine,
        vec![
            (invalid_grant(), "read"),
            (row(4, "r4", Some(1_000)), "mark 4 needs_reauth"),
            (Event::Marked, "read"),
            (in_state("needs_reauth"), "unlock"),
            (Event::Unlocked, "failed needs_reauth"),
        ],
    );
    let failure = failed(last);
    assert_eq!(failure.scope, Scope::Blocked);
    assert!(failure.hint.unwrap().contains("raw.qb_connect"));
}

#[test]
fn a_rejected_token_that_was_replaced_meanwhile_does_no_harm() {
    let mut machine = posting();
    play(
        &mut machine,
        vec![
            (invalid_grant(), "read"),
            (row(5, "r5", Some(3_000)), "unlock"),
            (Event::Unlocked, "token 5 access-5"),
        ],
    );
    // A person connected it again; there is no access token yet.
    let mut machine = posting();
    play(
        &mut machine,
        vec![
            (invalid_grant(), "read"),
            (row(5, "p5", None), "intent"),
            (Event::Intended, "post p5"),
            (granted("p6"), "save 5 p5 p6"),
            (Event::Saved(Saved::Stored), "unlock"),
            (Event::Unlocked, "token 6 new-access"),
        ],
    );
}

#[test]
fn a_token_that_changes_again_and_again_is_left_alone() {
    let mut machine = posting();
    let last = play(
        &mut machine,
        vec![
            (invalid_grant(), "read"),
            (row(5, "r5", None), "intent"),
            (Event::Intended, "post r5"),
            (invalid_grant(), "read"),
            (row(6, "r6", None), "intent"),
            (Event::Intended, "post r6"),
            (invalid_grant(), "read"),
            (row(7, "r7", None), "unlock"),
            (Event::Unlocked, "failed token_contended"),
        ],
    );
    assert_eq!(failed(last).scope, Scope::Run);
}

#[test]
fn a_bad_client_is_marked_and_the_token_kept() {
    let mut machine = posting();
    let refused = TokenAnswer::InvalidClient { description: "who?".to_owned() };
    let last = play(
        &mut machine,
        vec![
            (Event::Answered(refused), "mark 4 bad_client"),
            (Event::Marked, "read"),
            (in_state("bad_client"), "unlock"),
            (Event::Unlocked, "failed bad_client"),
        ],
    );
    let failure = failed(last);
    assert_eq!((failure.message.as_str(), failure.scope), ("who?", Scope::Blocked));
}
