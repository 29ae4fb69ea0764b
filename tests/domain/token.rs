//! The protocol by which a token is renewed, step by step.

use qbo_raw::domain::fault::{Failure, Scope};
use qbo_raw::domain::secret::Secret;
use qbo_raw::domain::token::{Event, Grant, Renewal, Saved, Step, Stored, Token, TokenAnswer};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

pub fn row(generation: u64, refresh: &str, access_left: Option<u64>) -> Event {
    Event::Row(Some(Stored {
        generation,
        refresh: (!refresh.is_empty()).then(|| Secret::new(refresh)),
        access: Some(Secret::new(format!("access-{generation}"))),
        access_left: access_left.map(Duration::from_secs),
        auth_state: "ok".to_owned(),
    }))
}

pub fn granted(refresh: &str) -> Event {
    Event::Answered(TokenAnswer::Granted(Grant {
        access: Secret::new("new-access"),
        refresh: Some(Secret::new(refresh)),
        expires_in: HOUR,
        refresh_expires_in: None,
        refresh_hard_expires_in: None,
    }))
}

pub fn invalid_grant() -> Event {
    Event::Answered(TokenAnswer::InvalidGrant { description: "Token invalid".to_owned() })
}

fn unknown() -> Event {
    Event::Answered(TokenAnswer::Unknown { message: "timeout".to_owned() })
}

/// A step in a word.
fn word(step: &Step) -> String {
    match step {
        Step::TryLock => "lock".to_owned(),
        Step::Pause(pause) => format!("pause {}", pause.as_millis()),
        Step::Read => "read".to_owned(),
        Step::WriteIntent => "intent".to_owned(),
        Step::Post(refresh) => format!("post {}", refresh.expose()),
        Step::Save { seen, used, grant } => {
            format!("save {seen} {} {}", used.expose(), grant.refresh.as_ref().map_or("-", Secret::expose))
        }
        Step::Mark { seen, state, .. } => format!("mark {seen} {state}"),
        Step::Unlock => "unlock".to_owned(),
        Step::Finish(Ok(token)) => format!("token {} {}", token.generation, token.access.expose()),
        Step::Finish(Err(failure)) => format!("failed {}", failure.code),
    }
}

/// Plays events to a machine and compares each step; the last step is given back.
pub fn play(machine: &mut Renewal, script: Vec<(Event, &str)>) -> Step {
    let mut last = None;
    for (event, expected) in script {
        let what = format!("{event:?}");
        let step = machine.step(event);
        assert_eq!(word(&step), expected, "after {what}");
        last = Some(step);
    }
    last.unwrap()
}

fn token(step: Step) -> Token {
    match step {
        Step::Finish(Ok(token)) => token,
        other => panic!("{other:?}"),
    }
}

pub fn failed(step: Step) -> Failure {
    match step {
        Step::Finish(Err(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// Up to the first post, of "r4" with generation 4.
pub fn posting() -> Renewal {
    let mut machine = Renewal::new(Some(4));
    play(
        &mut machine,
        vec![
            (Event::Start, "lock"),
            (Event::Locked(true), "read"),
            (row(4, "r4", Some(1_000)), "intent"),
            (Event::Intended, "post r4"),
        ],
    );
    machine
}

#[test]
fn the_happy_path() {
    let mut machine = posting();
    let last = play(
        &mut machine,
        vec![
            (granted("r5"), "save 4 r4 r5"),
            (Event::Saved(Saved::Stored), "unlock"),
            (Event::Unlocked, "token 5 new-access"),
        ],
    );
    assert_eq!(token(last).valid_for, HOUR);
}

#[test]
fn the_lock_is_waited_for_a_minute() {
    let mut machine = Renewal::new(Some(1));
    play(&mut machine, vec![(Event::Start, "lock")]);
    for _ in 0..400 {
        play(&mut machine, vec![(Event::Locked(false), "pause 150"), (Event::Waited, "lock")]);
    }
    let failure = failed(play(&mut machine, vec![(Event::Locked(false), "failed token_locked")]));
    assert_eq!((failure.sqlstate, failure.scope), ("55P03", Scope::Run));
}

#[test]
fn what_a_sibling_renewed_meanwhile_is_taken_over() {
    let mut machine = Renewal::new(Some(4));
    let last = play(
        &mut machine,
        vec![
            (Event::Start, "lock"),
            (Event::Locked(false), "pause 150"),
            (Event::Waited, "lock"),
            (Event::Locked(true), "read"),
            (row(5, "r5", Some(3_000)), "unlock"),
            (Event::Unlocked, "token 5 access-5"),
        ],
    );
    assert_eq!(token(last).valid_for, Duration::from_secs(3_000));
}

#[test]
fn an_access_token_is_taken_only_if_it_is_good_for_something() {
    for (refused, generation, left, taken) in [
        (None, 4, Some(3_000), true),
        (Some(3), 4, Some(6), true),
        (Some(3), 4, Some(5), false),
        (Some(3), 4, Some(0), false),
        (Some(3), 4, None, false),
        (Some(4), 4, Some(3_000), false),
        (None, 4, None, false),
    ] {
        let mut machine = Renewal::new(refused);
        let expected = if taken { "unlock" } else { "intent" };
        play(
            &mut machine,
            vec![
                (Event::Start, "lock"),
                (Event::Locked(true), "read"),
                (row(generation, "r4", left), expected),
            ],
        );
    }
}

#[test]
fn without_an_answer_the_same_token_is_tried_four_times() {
    let mut machine = posting();
    let last = play(
        &mut machine,
        vec![
            (unknown(), "pause 1000"),
            (Event::Waited, "post r4"),
            (unknown(), "pause 4000"),
            (Event::Waited, "post r4"),
            (unknown(), "pause 16000"),
            (Event::Waited, "post r4"),
            (unknown(), "unlock"),
            (Event::Unlocked, "failed token_unavailable"),
        ],
    );
    let failure = failed(last);
    assert_eq!((failure.sqlstate, failure.scope, failure.outage), ("08006", Scope::Run, true));
    assert!(failure.message.contains("timeout"));
    let mut machine = posting();
    play(
        &mut machine,
        vec![(unknown(), "pause 1000"), (Event::Waited, "post r4"), (granted("r5"), "save 4 r4 r5")],
    );
}

#[test]
fn a_grant_is_saved_however_long_it_takes() {
    let mut machine = posting();
    play(&mut machine, vec![(granted("r5"), "save 4 r4 r5")]);
    for n in 1..1_000 {
        let pause = if n < 20 { "pause 100" } else { "pause 1000" };
        play(&mut machine, vec![(Event::Saved(Saved::NotNow), pause), (Event::Waited, "save 4 r4 r5")]);
    }
    play(
        &mut machine,
        vec![(Event::Saved(Saved::Stored), "unlock"), (Event::Unlocked, "token 5 new-access")],
    );
}

#[test]
fn a_superseded_grant_is_dropped_for_what_is_stored() {
    let mut machine = posting();
    play(
        &mut machine,
        vec![
            (granted("r5"), "save 4 r4 r5"),
            (Event::Saved(Saved::Superseded), "read"),
            (row(5, "p5", None), "intent"),
            (Event::Intended, "post p5"),
            (invalid_grant(), "read"),
            (row(5, "p5", None), "mark 5 needs_reauth"),
        ],
    );
}

#[test]
fn what_superseded_a_grant_is_not_taken_for_the_rejected_token() {
    let mut machine = posting();
    play(
        &mut machine,
        vec![
            (granted("r5"), "save 4 r4 r5"),
            (Event::Saved(Saved::Superseded), "read"),
            // Another token under the same generation: somebody wrote it by hand.
            (row(4, "p4", None), "intent"),
            (Event::Intended, "post p4"),
        ],
    );
}

/// What such a failure says is for whoever has to find the mistake.
#[test]
fn an_event_out_of_place_is_named_with_the_state() {
    type Path = Vec<(Event, &'static str)>;
    let posting =
        || vec![(Event::Locked(true), "read"), (row(4, "r4", None), "intent"), (Event::Intended, "post r4")];
    let after = |mut path: Path, rest: Path| {
        path.extend(rest);
        path
    };
    let paths = [
        ("LockPause", vec![(Event::Locked(false), "pause 150")]),
        ("PostPause", after(posting(), vec![(unknown(), "pause 1000")])),
        (
            "SavePause",
            after(
                posting(),
                vec![(granted("r5"), "save 4 r4 r5"), (Event::Saved(Saved::NotNow), "pause 100")],
            ),
        ),
        (
            "Marking",
            after(posting(), vec![(invalid_grant(), "read"), (row(4, "r4", None), "mark 4 needs_reauth")]),
        ),
    ];
    for (state, path) in paths {
        let mut machine = Renewal::new(None);
        play(&mut machine, vec![(Event::Start, "lock")]);
        play(&mut machine, path);
        let message = failed(machine.step(Event::Unlocked)).message;
        assert!(message.ends_with(&format!("Unlocked in state {state}")), "{message}");
        assert!(failed(machine.step(Event::Start)).message.ends_with("Start in state Over"));
    }
}

/// Each event in each state: either it belongs there, or it ends the machine without harm.
#[test]
fn an_event_out_of_place_ends_the_machine() {
    let events: [fn() -> Event; 9] = [
        || Event::Start,
        || Event::Locked(true),
        || Event::Waited,
        || row(4, "r4", None),
        || Event::Intended,
        || granted("r5"),
        || Event::Saved(Saved::Stored),
        || Event::Marked,
        || Event::Unlocked,
    ];
    let path: [usize; 7] = [0, 1, 3, 4, 5, 6, 8];
    for length in 0..=path.len() {
        for (n, event) in events.iter().enumerate() {
            let mut machine = Renewal::new(None);
            for step in &path[..length] {
                machine.step(events[*step]());
            }
            // Beginning anew is the same as having waited.
            if path.get(length) == Some(&n) || (length == 0 && n == 2) {
                continue;
            }
            match machine.step(event()) {
                Step::Finish(Err(failure)) => {
                    assert_eq!((failure.code.as_str(), failure.scope), ("internal", Scope::Run))
                }
                other => panic!("event {n} after {length} steps: {other:?}"),
            }
            assert!(matches!(machine.step(Event::Start), Step::Finish(Err(_))));
        }
    }
}
