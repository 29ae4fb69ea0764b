//! Secrets do not get out: not by Debug, not in what others say.

use qbo_raw::domain::secret::{Redactor, Secret};
use qbo_raw::domain::token::{Event, Grant, Renewal, Step, Stored, Token, TokenAnswer};
use std::time::Duration;

const WORD: &str = "AB11734567890swordfish";

fn secret() -> Secret {
    Secret::new(WORD)
}

#[test]
fn a_secret_is_its_text_and_nothing_else_shows_it() {
    assert_eq!(secret().expose(), WORD);
    assert_eq!(format!("{:?}", secret()), "Secret(…)");
    assert_eq!(format!("{:#?}", Some(secret())), "Some(\n    Secret(…),\n)");
    assert!(Secret::new("").is_empty() && !secret().is_empty());
}

#[test]
fn what_intuit_refuses_is_told_without_the_secrets() {
    let redactor = Redactor::new(&[&secret()]);
    let said = format!("no {WORD} here");
    for answer in [
        TokenAnswer::InvalidGrant { description: said.clone() },
        TokenAnswer::InvalidClient { description: said.clone() },
        TokenAnswer::Unknown { message: said.clone() },
    ] {
        let kind = std::mem::discriminant(&answer);
        let answer = answer.scrubbed(&redactor);
        assert_eq!(std::mem::discriminant(&answer), kind);
        let (TokenAnswer::InvalidGrant { description: text }
        | TokenAnswer::InvalidClient { description: text }
        | TokenAnswer::Unknown { message: text }) = answer
        else {
            panic!("it is no refusal any more")
        };
        assert_eq!(text, redactor.scrub(&said));
        assert!(text.starts_with("no ") && !text.contains(WORD), "{text}");
    }
    let grant = Grant {
        access: secret(),
        refresh: None,
        expires_in: Duration::ZERO,
        refresh_expires_in: None,
        refresh_hard_expires_in: None,
    };
    match TokenAnswer::Granted(grant).scrubbed(&redactor) {
        TokenAnswer::Granted(grant) => assert_eq!(grant.access.expose(), WORD, "a token is not spoilt"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let grant = Grant {
        access: secret(),
        refresh: Some(secret()),
        expires_in: Duration::from_secs(3_600),
        refresh_expires_in: None,
        refresh_hard_expires_in: None,
    };
    let stored = Stored {
        generation: 1,
        refresh: Some(secret()),
        access: Some(secret()),
        access_left: None,
        auth_state: "ok".to_owned(),
    };
    let token = Token { generation: 1, access: secret(), valid_for: Duration::ZERO };
    let mut renewal = Renewal::new(Some(1));
    let mut shown = format!("{stored:?}{token:?}{:?}", TokenAnswer::Granted(grant.clone()));
    for event in [
        Event::Start,
        Event::Locked(true),
        Event::Row(Some(stored)),
        Event::Intended,
        Event::Answered(TokenAnswer::Granted(grant)),
        Event::Locked(true),
    ] {
        shown += &format!("{event:?}");
        let step = renewal.step(event);
        shown += &format!("{step:?}{renewal:?}");
        if let Step::Finish(Err(failure)) = step {
            assert_eq!(failure.code, "internal");
            shown += &failure.message;
        }
    }
    assert!(shown.len() > 1_000);
    assert!(!shown.contains("swordfish"), "{shown}");
}

#[test]
fn known_secrets_are_taken_out_wherever_they_stand() {
    let other = Secret::new("p&ss/w rd");
    let redactor = Redactor::new(&[&secret(), &other]);
    assert_eq!(redactor.scrub(&format!("token={WORD}.")), "token=[redacted].");
    assert_eq!(redactor.scrub(&format!("x{WORD}y{WORD}")), "x[redacted]y[redacted]");
    assert_eq!(redactor.scrub("\"p&ss/w rd\""), "\"[redacted]\"");
    assert_eq!(redactor.scrub("nothing here"), "nothing here");
}

#[test]
fn a_secret_too_short_to_be_one_is_no_pattern() {
    let redactor = Redactor::new(&[&Secret::new(""), &Secret::new("a"), &Secret::new("12345")]);
    assert_eq!(redactor.scrub("a banana costs 12345"), "a banana costs 12345");
}

#[test]
fn what_follows_bearer_is_taken_out() {
    let redactor = Redactor::default();
    for (said, clean) in [
        ("Authorization: Bearer abc", "Authorization: Bearer [redacted]"),
        ("Token for bearer \t x-1._~+=z, expired", "Token for bearer \t [redacted], expired"),
        ("BEARER short\" and more", "BEARER [redacted]\" and more"),
        ("Authorization: Basic QUJzaW06c2Vj/mV0+MDEy==, sent", "Authorization: Basic [redacted], sent"),
        ("header 'basic a/b/c' refused", "header 'basic [redacted]' refused"),
        ("bearer=abc and Bearer=x1", "[redacted] and [redacted]"),
        ("Bearer a Bearer b", "Bearer [redacted] Bearer [redacted]"),
        ("Bearer", "Bearer"),
        ("Bearer, he said", "Bearer, he said"),
        ("", ""),
    ] {
        assert_eq!(redactor.scrub(said), clean);
    }
}

#[test]
fn words_like_tokens_are_taken_out() {
    let redactor = Redactor::default();
    let jwt = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0..c2VjcmV0.Zm9vYmFy_-x1";
    let refresh = "AB11734567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";
    for token in [jwt, refresh] {
        for (before, behind) in
            [("", ""), ("Token invalid: ", "!"), ("\"", "\","), ("ü", "🧾"), ("x:\n", "\n")]
        {
            let clean = redactor.scrub(&format!("{before}{token}{behind}"));
            assert_eq!(clean, format!("{before}[redacted]{behind}"));
        }
    }
    // As the gateway says it.
    let said = format!("message=AuthenticationFailed; errorCode=003200; statusCode=401; token={jwt}");
    let clean = redactor.scrub(&said);
    assert!(!clean.contains("eyJ") && clean.contains("errorCode=003200"), "{clean}");
}

#[test]
fn ordinary_text_stays_as_it_is() {
    let redactor = Redactor::default();
    for text in [
        "QuickBooks says: Invalid query (QueryParserError: Encountered \" <IDENTIFIER> \"ORDERBY\"\" at line 1, column 9)",
        "WHERE MetaData.LastUpdatedTime >= '2024-02-28T00:00:00+00:00'",
        "intuit_tid 1-65f2a3b4-0c1d2e3f4a5b6c7d8e9f0a1b and 6d9f7c7e-4b0a-4f0e-9a43-6a1f3b8f0c11",
        "https://quickbooks.api.intuit.com/v3/company/9130357766900000/query?minorversion=75",
        "pneumonoultramicroscopicsilicovolcanoconiosis",
        "ünïcödé 🧾 \u{feff}",
    ] {
        assert_eq!(redactor.scrub(text), text);
    }
}

#[test]
fn a_secret_that_contains_another_leaves_no_rest() {
    let (short, long) = (Secret::new("abcdef"), Secret::new("abcdef-rest"));
    for redactor in [Redactor::new(&[&short, &long]), Redactor::new(&[&long, &short])] {
        assert_eq!(redactor.scrub("it is abcdef-rest here"), "it is [redacted] here");
    }
}

#[test]
fn random_text_never_panics_and_never_keeps_a_secret() {
    let mut random = fastrand::Rng::with_seed(7);
    let redactor = Redactor::new(&[&secret()]);
    for _ in 0..5_000 {
        let parts = [WORD, " ", "Bearer", "ü", "🧾", "=", "\n", "a1", "[redacted]", "/"];
        let text: String = (0..random.usize(0..20)).map(|_| *random.choice(&parts).unwrap()).collect();
        assert!(!redactor.scrub(&text).contains(WORD));
    }
}

#[test]
fn what_is_announced_twice_is_a_secret_too() {
    for text in ["Bearer Bearer abc def", "bearer basic  abc def", "Basic bearer Bearer abc def"] {
        let clean = Redactor::default().scrub(text);
        assert!(!clean.contains("abc") && clean.ends_with(" def"), "{clean}");
    }
}

#[test]
fn what_others_say_does_not_end_at_a_nul() {
    assert_eq!(Redactor::default().scrub("a\0b"), "a\u{fffd}b");
}
