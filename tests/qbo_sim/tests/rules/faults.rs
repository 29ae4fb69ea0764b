//! Faults: which requests they strike, how often, and what the client sees of those above the wire.

use crate::client::Client;
use qbo_sim::{Action, Edit, FAULT_NAMES, Fault, TokenMode, When};
use std::time::{Duration, Instant};

fn company() -> Client {
    Client::company(&[("Invoice", 30)])
}

fn named(name: &str) -> Fault {
    Fault::named(name).unwrap_or_else(|| panic!("{name}"))
}

fn ask(client: &Client) -> u16 {
    client.query("SELECT * FROM Invoice MAXRESULTS 5").status
}

#[test]
fn a_fault_strikes_the_nth_request_from_the_nth_on_or_always() {
    let client = company();
    client.fault(When::Nth(2), named("503"));
    client.fault(When::From(4), named("500"));
    assert_eq!(
        [ask(&client), ask(&client), ask(&client), ask(&client), ask(&client)],
        [200, 503, 200, 500, 500]
    );
    client.clear_faults();
    client.fault(When::Next(2), named("502"));
    assert_eq!([ask(&client), ask(&client), ask(&client)], [200, 502, 200]);
    client.fault_times(When::Always, named("504"), 2);
    assert_eq!([ask(&client), ask(&client), ask(&client)], [504, 504, 200], "two times");
    let faulted: Vec<u64> =
        client.requests().iter().filter(|request| request.faulted).map(|request| request.n).collect();
    assert_eq!(faulted, [2, 4, 5, 7, 9, 10]);
}

#[test]
fn a_fault_strikes_by_statement_by_size_or_by_the_record_that_would_come() {
    let client = company();
    client.fault(When::Statement("COUNT".to_owned()), named("400"));
    client.fault(When::RowsOver(10), named("10100"));
    client.fault(When::Record("Invoice".to_owned(), "7".to_owned()), named("4002"));
    assert_eq!(client.query("SELECT COUNT(*) FROM Invoice").status, 400);
    assert_eq!(client.query("SELECT * FROM Invoice MAXRESULTS 11").fault().0, "10100");
    let at = |start: u32, max: u32| {
        client.query(&format!("SELECT * FROM Invoice ORDERBY Id STARTPOSITION {start} MAXRESULTS {max}"))
    };
    assert_eq!(at(1, 6).ids("Invoice"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(
        at(7, 1).fault(),
        ("4002".to_owned(), "QueryProcessingError: To email address entered is invalid".to_owned())
    );
    assert_eq!(at(5, 5).status, 400);
    assert_eq!(at(8, 5).status, 200);
}

#[test]
fn a_fault_at_the_token_endpoint_redeems_nothing_but_a_lost_answer_does() {
    let client = company();
    let redeemed = client.redemptions();
    client.fault_times(When::Token, named("503"), 1);
    assert_eq!(client.refresh(&client.refresh_token()).status, 503);
    assert_eq!(client.redemptions(), redeemed);
    let strict = Client::new(qbo_sim::Options { tokens: TokenMode::Strict, ..crate::client::counts(&[]) });
    let (token, redeemed) = (strict.refresh_token(), strict.redemptions());
    strict.fault_times(When::Token, Fault::LoseAnswer, 1);
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let basic = crate::client::base64(&format!("{}:{}", strict.client_id(), strict.client_secret()));
    let lost = strict.agent.post(format!("{}/oauth2/v1/tokens/bearer", strict.url()));
    assert!(lost.header("Authorization", format!("Basic {basic}")).send_form(form).is_err());
    assert_eq!(strict.redemptions(), redeemed + 1);
    assert_ne!(strict.refresh_token(), token);
    assert_eq!(strict.refresh(&token).status, 400);
}

#[test]
fn every_name_makes_a_fault_and_no_other_does() {
    let mut count = 0;
    for (names, _) in FAULT_NAMES {
        for name in names.split(", ").filter(|name| *name != "STATUS") {
            let name = name.replace("SECONDS", "1").replace(":N", ":1").replace(":S", ":1");
            named(&name);
            count += 1;
        }
    }
    assert!(count > 70, "{count}");
    for name in ["", "nonsense", "4711", "99"] {
        assert!(Fault::named(name).is_none(), "{name}");
    }
}

#[test]
fn faults_have_the_bodies_that_were_recorded() {
    let client = company();
    for (name, status, kind, part) in [
        ("401", 401, "application/json", "\"detail\":\"Token expired: eyJ"),
        ("401-100", 401, "application/xml", "<Error code=\"100\">"),
        ("401-130", 401, "application/xml", "Accessing Wrong Cluster"),
        (
            "403",
            403,
            "application/json",
            "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403",
        ),
        ("403-120", 403, "application/xml", "-11014-You do not have access"),
        ("403-scope", 403, "application/xml", "does not have sufficient scope"),
        ("403-throttle", 403, "application/xml", "ThrottleExceeded; errorCode=003001; statusCode=403"),
        ("429", 429, "application/xml", "The request limit was reached.  Try again later"),
        ("500", 500, "application/json", "message=InternalServerError; errorCode=003100; statusCode=500"),
        ("502", 502, "text/html", "502 Bad Gateway"),
        ("503", 503, "text/html", "Avi Vantage"),
        ("504", 504, "application/xml", "message=GatewayTimeout; errorCode=006002; statusCode=504"),
        ("200-fault", 200, "application/json;charset=utf-8", "\"code\":\"6190\""),
        ("10000", 400, "application/json;charset=utf-8", "has been made inactive"),
        ("html", 200, "application/json;charset=utf-8", "We'll be back soon"),
        ("418", 418, "", ""),
    ] {
        client.fault_times(When::Always, named(name), 1);
        let answer = client.query("SELECT * FROM Invoice");
        assert_eq!((answer.status, answer.header("content-type")), (status, kind), "{name}");
        assert!(answer.body.contains(part), "{name}: {}", answer.body);
        assert!(!answer.header("intuit_tid").is_empty());
    }
    client.fault_times(When::Always, named("429:7"), 1);
    assert_eq!(client.query("SELECT * FROM Invoice").header("retry-after"), "7");
    client.fault_times(When::Always, named("503-retry-after-1"), 1);
    assert_eq!(client.query("SELECT * FROM Invoice").header("retry-after"), "1");
}

#[test]
fn a_redirect_names_its_place() {
    let client = company();
    client.fault(When::Always, named("redirect-307:http://127.0.0.1:9/elsewhere"));
    let answer = client.query("SELECT * FROM Invoice");
    assert_eq!((answer.status, answer.header("location")), (307, "http://127.0.0.1:9/elsewhere"));
}

#[test]
fn edits_change_the_true_body() {
    let client = company();
    let statement = "SELECT * FROM Invoice ORDERBY Id MAXRESULTS 3";
    let good = client.query(statement).body;
    let changed = |fault: Fault| {
        client.fault_times(When::Always, fault, 1);
        client.query(statement)
    };
    assert!(changed(named("bom")).body.starts_with("\u{feff}{"));
    assert!(changed(named("trailing-garbage")).body.ends_with("}<!-- -->"));
    assert!(serde_json::from_str::<serde_json::Value>(&changed(named("two-documents")).body).is_err());
    assert!(changed(named("invalid-utf8")).body.contains('\u{fffd}'));
    assert!(changed(named("utf-16")).body.starts_with("{\0\"\0Q\0"));
    assert!(changed(named("null-fault")).json()["Fault"].is_null());
    assert_eq!(changed(named("null-fault")).ids("Invoice").len(), 3);
    assert_eq!(changed(named("nested-fault")).json()["QueryResponse"]["Fault"]["Error"][0]["code"], "4001");
    assert_eq!(changed(named("lower-case-key")).rows("invoice").len(), 3);
    assert_eq!(changed(named("other-key")).rows("Gadget").len(), 3);
    assert!(changed(named("response-null")).json()["QueryResponse"].is_null());
    assert!(changed(named("response-array")).json()["QueryResponse"].is_array());
    assert!(changed(named("no-response")).json().get("QueryResponse").is_none());
    assert_eq!(changed(named("twice-the-first")).ids("Invoice"), ["1", "2", "3", "1"]);
    assert_eq!(changed(named("total-count:77")).json()["QueryResponse"]["totalCount"], 77);
    assert_eq!(changed(named("max-results:2")).json()["QueryResponse"]["maxResults"], 2);
    assert_eq!(changed(Fault::Edit(Edit::replace("\"QBO\"", "\"ABC\""))).rows("Invoice")[0]["domain"], "ABC");
    assert_eq!(client.query(statement).body.len(), good.len());
}

#[test]
fn bent_queries_ignore_what_was_asked() {
    let client = company();
    let asked = |fault: &str| {
        client.fault_times(When::Always, named(fault), 1);
        client.query("SELECT * FROM Invoice ORDERBY Id STARTPOSITION 11 MAXRESULTS 4").ids("Invoice")
    };
    assert_eq!(asked("first-page"), ["1", "2", "3", "4"]);
    assert_eq!(asked("one-more"), ["11", "12", "13", "14", "15"]);
    assert_eq!(asked("at-most:2"), ["11", "12"]);
}

#[test]
fn a_stall_delays_the_true_answer_and_ends_with_the_simulator() {
    let client = company();
    client.fault_times(When::Always, Fault::Stall(Duration::from_millis(200)), 1);
    let start = Instant::now();
    assert_eq!(ask(&client), 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
    client.fault(When::Always, Fault::Stall(Duration::from_secs(60)));
    let Client { sim, agent, token } = client;
    let url = format!("{}/v3/company/{}/query", sim.url(), sim.realm());
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || {
            let request = agent.post(url).header("Authorization", format!("Bearer {token}"));
            request.content_type("application/text").send("SELECT * FROM Invoice").is_err()
        });
        while sim.request_count() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(sim.requests()[1].status, 0, "it is being answered");
        drop(sim);
        assert!(asked.join().unwrap());
    });
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn who_stalls_is_released_and_who_comes_later_is_not() {
    let client = company();
    client.fault_times(When::Always, Fault::Stall(Duration::from_secs(60)), 2);
    let start = Instant::now();
    let stalled = |n: u64| {
        while client.request_count() < n {
            std::thread::yield_now();
        }
        client.release();
    };
    std::thread::scope(|scope| {
        for n in 1..=2 {
            let asked = scope.spawn(|| ask(&client));
            stalled(n);
            assert_eq!(asked.join().unwrap(), 200, "the true answer");
        }
    });
    client.set_latency(Duration::from_millis(200));
    let later = Instant::now();
    assert_eq!(ask(&client), 200);
    assert!(later.elapsed() >= Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(15), "the client would have given up");
}

#[test]
fn changes_and_faults_go_together() {
    let client = company();
    client.act_before(1, Action::Delete("Invoice".to_owned(), "3".to_owned()));
    client.fault_times(When::Nth(1), named("503"), 1);
    assert_eq!(ask(&client), 503);
    assert_eq!(client.record("Invoice", "3"), None, "the change was made although the answer failed");
}

#[test]
fn a_simulator_that_is_down_resets_every_connection() {
    let client = company();
    client.set_down(true);
    let fresh = crate::client::agent(None);
    assert!(fresh.get(client.url()).call().is_err());
    client.set_down(false);
    assert_eq!(ask(&client), 200);
}
