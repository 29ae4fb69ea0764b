//! The address that a browser was sent back to: what is read of it, and that no part of it is repeated.

use qbo_raw::error::Error;
use qbo_raw::http::callback::{Callback, read};

/// A word that must not stand in any message.
const CODE: &str = "AB11734567890swordfish";

fn taken(text: &str) -> Callback {
    read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match read(text) {
        Err(Error::Consent { problem, hint }) => {
            let said = format!("{problem}; {}", hint.unwrap_or_default());
            assert!(!said.contains("swordfish"), "{said}");
            said
        }
        Err(other) => panic!("{text}: {other:?}"),
        Ok(_) => panic!("{text} was taken"),
    }
}

#[test]
fn an_address_is_read_whole_or_from_its_question_mark_on() {
    let query = format!("code={CODE}&state=a%2Bb-c&realmId=4620816365002384750");
    for text in [
        format!("https://example.com/back?{query}"),
        format!("  https://example.com/back?{query}#top \n"),
        format!("https://example.com/back?later=1&{query}"),
        format!("/back?{query}"),
        format!(" ?{query}\n"),
        query.clone(),
    ] {
        let callback = taken(&text);
        assert_eq!((callback.code.as_str(), callback.state.as_str()), (CODE, "a+b-c"), "{text}");
        assert_eq!(callback.realm, "4620816365002384750");
    }
}

#[test]
fn a_consent_that_was_not_given_says_what_to_do() {
    assert!(refused("https://example.com/back?error=access_denied&state=s").contains("clicked on Cancel"));
    assert!(refused("https://example.com/back?error=invalid_scope&state=s").contains("scope"));
    let both = format!("https://example.com/back?code={CODE}&state=s&realmId=1&error=access_denied");
    assert!(refused(&both).contains("clicked on Cancel"), "a code with it counts for nothing");
}

#[test]
fn what_is_missing_or_no_value_is_named() {
    let (longest, digits) = ("c".repeat(4_096), "1".repeat(20));
    taken(&format!("?code={longest}&state={longest}&realmId={digits}"));
    for (query, part) in [
        (format!("code={CODE}&code={CODE}&state=s&realmId=1"), "stands in it twice"),
        (format!("code={CODE}&state=s&realmId=1&realmId=1"), "stands in it twice"),
        ("state=s&realmId=1".to_owned(), "no code"),
        ("code=&state=s&realmId=1".to_owned(), "no code"),
        (format!("code=c{longest}&state=s&realmId=1"), "no code"),
        (format!("code={CODE}%20&state=s&realmId=1"), "no code"),
        (format!("code={CODE}%0A&state=s&realmId=1"), "no code"),
        (format!("code={CODE}&realmId=1"), "no state"),
        (format!("code={CODE}&state=%C3%A9&realmId=1"), "no state"),
        (format!("code={CODE}&state=s"), "no realmId"),
        (format!("code={CODE}&state=s&realmId="), "no realmId"),
        (format!("code={CODE}&state=s&realmId=1{digits}"), "no realmId"),
        (format!("code={CODE}&state=s&realmId=12x"), "no realmId"),
    ] {
        for text in [format!("https://example.com/back?{query}"), query] {
            let said = refused(&text);
            assert!(said.contains(part), "{said} for {text}");
        }
    }
    for nothing in ["", "   ", "https://example.com/back", "what?", CODE] {
        assert!(refused(nothing).contains("no code"), "{nothing}");
    }
}
