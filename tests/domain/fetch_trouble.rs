//! The machine of a window in trouble: when it asks again, when it shrinks its pages, and when it gives up.

use super::model::{Server, Story, busy, fault, fetch, limits, lost, now, page, reply, slice, talk};
use qbo_raw::domain::fault::Scope;
use qbo_raw::domain::fetch::{Effect, Event, Limits, LostKind, Reply};
use qbo_raw::domain::retry::Backoff;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The same answer again and again.
fn always(page_size: u32, answer: impl Fn() -> Event) -> Story {
    talk(limits(page_size), |_, _| answer())
}

/// A server of seven rows that says something else first.
fn first(page_size: u32, wrong: impl Fn(usize) -> Option<Event>) -> Story {
    let story = talk(limits(page_size), |n, slice| wrong(n).unwrap_or_else(|| Server::new(7).answer(slice)));
    if story.end.as_ref().is_some_and(Result::is_ok) {
        assert_eq!(story.ids(), (1..=7).collect::<Vec<_>>());
    }
    story
}

fn waits(story: &Story) -> Vec<u64> {
    story.waits.iter().map(|(wait, _)| wait.as_secs()).collect()
}

fn everyone(story: &Story) -> Vec<bool> {
    story.waits.iter().map(|(_, everyone)| *everyone).collect()
}

#[test]
fn an_outage_is_sat_out_and_then_a_failure() {
    for (answer, code, sqlstate) in [
        (&(|| reply(503, "<html>")) as &dyn Fn() -> Event, "http_503", "08006"),
        (&|| reply(500, ""), "http_500", "08006"),
        (&|| reply(200, ""), "empty_body", "08006"),
        (&|| reply(200, "<html>log in</html>"), "not_json", "08006"),
        (&|| reply(429, ""), "throttled", "53400"),
        (&|| lost(LostKind::Dns), "dns", "08001"),
        (&|| lost(LostKind::Connect), "connection_failed", "08001"),
        (&|| lost(LostKind::Reset), "connection_reset", "08006"),
        (&|| lost(LostKind::Timeout), "timeout", "08006"),
        (&|| lost(LostKind::Encoding), "bad_encoding", "08006"),
        (&|| lost(LostKind::Protocol), "bad_protocol", "08006"),
    ] {
        let story = always(10, answer);
        let failure = story.failed();
        assert_eq!((failure.code.as_str(), failure.sqlstate), (code, sqlstate));
        assert_eq!((failure.scope, failure.outage), (Scope::Window, true), "{code}");
        assert_eq!(waits(&story), [2, 4, 8, 16, 32], "{code}");
        assert_eq!((failure.counters.requests, failure.counters.retries), (6, 5), "{code}");
        assert!(failure.hint.is_some(), "{code}");
    }
}

#[test]
fn the_number_of_requests_is_one_more_than_that_of_the_retries() {
    for retries in 0..8 {
        let backoff = Backoff { retries, base: seconds(1) };
        let story = talk(Limits { backoff, ..limits(10) }, |_, _| reply(502, ""));
        assert_eq!(story.sent.len() as u32, retries + 1);
        story.failed();
    }
}

#[test]
fn a_good_answer_gives_all_retries_back() {
    for answer in
        [reply as fn(u16, &'static str) -> Event, |_, _| lost(LostKind::Reset), |_, _| busy(429, "1")]
    {
        // Five bad answers before each good one.
        let story = first(2, |n| (n % 6 != 5).then(|| answer(503, "")));
        assert_eq!(story.done().retries, 4 * 5);
    }
}

#[test]
fn jitter_makes_the_waits_longer() {
    let mut machine = fetch(limits(1));
    machine.step(Event::Start, now(), 0.0);
    match &machine.step(reply(503, ""), now(), 1.0)[..] {
        [Effect::Wait { for_, everyone: false }] => assert_eq!(*for_, Duration::from_millis(2_500)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn when_throttled_everyone_waits() {
    let story = first(10, |n| (n < 2).then(|| reply(429, "")));
    assert_eq!((waits(&story), everyone(&story)), (vec![2, 4], vec![true, true]));
    let story = first(10, |n| (n < 2).then(|| busy(429, "7")));
    assert_eq!((waits(&story), everyone(&story)), (vec![7, 7], vec![true, true]));
    let story = first(10, |n| (n < 1).then(|| busy(429, "Mon, 01 Jan 2024 00:01:00 GMT")));
    assert_eq!((waits(&story), everyone(&story)), (vec![60], vec![true]));
    for garbage in ["soon", "-5", "0", "Mon, 01 Jan 2023 00:01:00 GMT"] {
        let story = first(10, |n| (n < 1).then(|| busy(429, garbage)));
        assert_eq!((waits(&story), everyone(&story)), (vec![2], vec![true]), "{garbage}");
    }
    let story = first(10, |n| (n < 1).then(|| fault("3001")));
    assert_eq!((waits(&story), everyone(&story)), (vec![2], vec![true]));
}

#[test]
fn an_outage_concerns_everyone_only_with_a_retry_after() {
    assert_eq!(everyone(&first(10, |n| (n < 1).then(|| reply(503, "")))), [false]);
    let story = first(10, |n| (n < 1).then(|| busy(503, "9")));
    assert_eq!((waits(&story), everyone(&story)), (vec![9], vec![true]));
}

#[test]
fn retry_after_does_not_go_on_for_ever() {
    for status in [429, 503] {
        let story = always(10, || busy(status, "3"));
        // Never shorter than the back-off.
        assert_eq!((waits(&story), story.sent.len()), (vec![3, 4, 8, 16, 32], 6));
        story.failed();
    }
}

#[test]
fn a_long_retry_after_puts_the_run_aside() {
    let story = first(10, |n| (n < 1).then(|| busy(429, "300")));
    assert_eq!(waits(&story), [300]);
    for status in [429, 503] {
        for (text, length) in [("301", 301), ("86400", 86_400), ("18446744073709551615", 86_400)] {
            let story = always(10, || busy(status, text));
            assert_eq!((story.failed().scope, story.sent.len()), (Scope::Park(seconds(length)), 1));
        }
    }
}

#[test]
fn timeouts_halve_the_page() {
    let story = first(1_000, |n| (n < 5).then(|| lost(LostKind::Timeout)));
    let sizes: Vec<_> = story.sent.iter().map(|slice| slice.max_results).collect();
    assert_eq!(sizes, [1_000, 500, 250, 125, 62, 31]);
    assert_eq!(waits(&story), [2, 4, 8, 16, 32]);
    let story = first(3, |n| (1..5).contains(&n).then(|| lost(LostKind::Timeout)));
    assert_eq!(story.sent[..5], [slice(1, 3), slice(3, 4), slice(3, 2), slice(3, 2), slice(3, 2)]);
    let story = first(8, |n| (n < 1).then(|| reply(504, "")));
    assert_eq!((story.sent[1], waits(&story)), (slice(1, 4), vec![2]));
}

#[test]
fn pages_that_are_too_large_are_halved_at_once() {
    for largest in 1..=8 {
        for page_size in 1..=12 {
            let server = Server { largest: Some(largest), ..Server::new(23) };
            let story = talk(limits(page_size), |_, slice| server.answer(slice));
            assert_eq!(story.ids(), (1..=23).collect::<Vec<_>>(), "{largest} by {page_size}");
            assert!(story.waits.is_empty());
        }
    }
    for code in ["6002", "10100"] {
        let story = first(6, |n| (n < 2).then(|| fault(code)));
        assert_eq!(story.sent[..3], [slice(1, 6), slice(1, 3), slice(1, 1)]);
        assert!(story.waits.is_empty());
    }
}

#[test]
fn a_record_too_large_alone_is_the_end() {
    for page_size in 1..=12 {
        for large in 1..=12 {
            let server = Server::new(12);
            let story = talk(limits(page_size), |_, slice| {
                let rows = server.rows(slice);
                if rows.contains(&large) { lost(LostKind::TooLarge) } else { page(rows) }
            });
            let failure = story.failed();
            assert_eq!(
                (failure.code.as_str(), failure.sqlstate, failure.outage),
                ("body_too_large", "54000", false)
            );
            assert_eq!(story.sent.last(), Some(&slice(large, 1)));
            assert!(failure.hint.as_deref().unwrap().contains("max_body_size"));
        }
    }
    let story = always(8, || lost(LostKind::TooLarge));
    assert_eq!(story.sent, [slice(1, 8), slice(1, 4), slice(1, 2), slice(1, 1)]);
}

#[test]
fn a_refused_token_is_renewed_once() {
    for refusal in
        [|| reply(401, ""), || fault("3200"), || reply(200, r#"{"Fault":{"Error":[{"code":"100"}]}}"#)]
    {
        let story = first(10, |n| (n < 1).then(refusal));
        assert_eq!((story.renewals, story.sent.len()), (1, 2));
        let story = always(10, refusal);
        assert_eq!((story.renewals, story.sent.len()), (1, 2));
        let failure = story.failed();
        assert_eq!((failure.code.as_str(), failure.scope), ("unauthorized", Scope::Run));
        // The next request may have it renewed again.
        let story = first(2, |n| (n % 2 == 0).then(refusal));
        assert_eq!(story.renewals, 4);
    }
}

#[test]
fn some_answers_are_final_at_once() {
    for (answer, code, scope) in [
        (reply(403, ""), "forbidden", Scope::Run),
        (reply(404, ""), "not_found", Scope::Run),
        (fault("6190"), "qbo_6190", Scope::Run),
        (fault("5020"), "not_available", Scope::Run),
        (fault("4000"), "qbo_4000", Scope::Window),
        (reply(302, ""), "unexpected_redirect", Scope::Window),
        (reply(200, "{}"), "unexpected_shape", Scope::Window),
        (reply(200, r#"{"QueryResponse":{"invoice":[]}}"#), "unexpected_shape", Scope::Window),
    ] {
        let mut answer = Some(answer);
        let story = talk(limits(10), |_, _| answer.take().unwrap());
        let failure = story.failed();
        assert_eq!((failure.code.as_str(), failure.scope, failure.counters.requests), (code, scope, 1));
    }
}

#[test]
fn a_first_page_that_claims_records_and_has_none_is_no_empty_window() {
    for list in ["", r#""Invoice":[],"#] {
        let story = always(10, || reply(200, format!(r#"{{"QueryResponse":{{{list}"totalCount":5}}}}"#)));
        assert_eq!((story.failed().code.as_str(), story.sent.len()), ("unexpected_shape", 1));
        let story = always(10, || reply(200, format!(r#"{{"QueryResponse":{{{list}"totalCount":0}}}}"#)));
        assert!(story.ids().is_empty() && matches!(story.end, Some(Ok(_))));
    }
}

#[test]
fn broken_json_may_happen_once() {
    for (body, code) in [(&b"{\"QueryResponse\":{"[..], "bad_json"), (b"{\"x\":\"\xff\"}", "bad_encoding")] {
        let story = first(10, |n| (n < 1).then(|| reply(200, body)));
        assert_eq!((story.sent.len(), waits(&story)), (2, vec![2]));
        let story = always(10, || reply(200, body));
        let failure = story.failed();
        assert_eq!((failure.code.as_str(), failure.sqlstate, failure.outage), (code, "38000", false));
        assert_eq!(story.sent.len(), 2);
    }
}

#[test]
fn a_bad_certificate_ends_the_run_after_three_tries() {
    let story = always(10, || lost(LostKind::Tls));
    let failure = story.failed();
    assert_eq!((failure.code.as_str(), failure.scope, failure.outage), ("tls_error", Scope::Run, true));
    assert_eq!((story.sent.len(), waits(&story)), (3, vec![2, 4]));
}

#[test]
fn a_failure_names_the_last_transaction_of_intuit() {
    let tid = |status, tid: Option<&str>| {
        Event::Answer(Reply { status, intuit_tid: tid.map(str::to_owned), ..Reply::default() })
    };
    let story = talk(limits(10), |n, _| match n {
        0 => tid(503, Some("1-a")),
        1 => tid(503, None),
        _ => fault("4000"),
    });
    assert_eq!(story.failed().intuit_tid.as_deref(), Some("1-a"));
    let story = talk(limits(10), |n, _| if n == 0 { tid(503, Some("1-a")) } else { tid(404, Some("1-b")) });
    assert_eq!(story.failed().intuit_tid.as_deref(), Some("1-b"));
}

#[test]
fn random_trouble_always_ends_and_never_loses_a_row() {
    let mut random = fastrand::Rng::with_seed(12);
    let mut done = 0;
    for round in 0..20_000 {
        let server = Server::new(random.u32(0..20));
        let odds = random.u32(1..20);
        let story = talk(limits(random.u32(1..7)), |_, slice| match random.u32(0..odds + 9) {
            0 => reply(503, ""),
            1 => reply(429, ""),
            2 => busy(503, "2"),
            3 => reply(401, ""),
            4 => lost(*random.choice(&[LostKind::Timeout, LostKind::Reset, LostKind::Tls]).unwrap()),
            5 => fault(random.choice(&["6002", "150"]).unwrap()),
            6 => reply(200, "{"),
            7 => reply(504, ""),
            _ => server.answer(slice),
        });
        if let Some(Ok(_)) = story.end {
            done += 1;
            assert_eq!(story.ids(), server.ids, "round {round}");
        } else {
            assert!(
                !["internal", "moved_while_read"].contains(&story.failed().code.as_str()),
                "round {round}"
            );
        }
    }
    assert!(done > 5_000, "{done}");
}
