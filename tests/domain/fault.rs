//! Faults in all their shapes, what to do about each, and the failure it becomes.

use qbo_raw::domain::fault::{Fault, Remedy, Scope};

fn fault(status: u16, body: &str) -> Fault {
    Fault::read(status, body.as_bytes())
}

fn coded(status: u16, code: &str) -> Fault {
    fault(
        status,
        &format!(
            r#"{{"Fault":{{"Error":[{{"Message":"m","Detail":"d","code":"{code}"}}],"type":"t"}},"time":"x"}}"#
        ),
    )
}

#[test]
fn json_of_the_service() {
    let fault = fault(
        400,
        r#"{"Fault":{"Error":[{"Message":"Error parsing query","Detail":"QueryParserError: x","code":"4000","element":""},
            {"Message":"second","code":"1"}],"type":"ValidationFault"},"time":"2024-01-01T00:00:00.000-07:00"}"#,
    );
    assert_eq!(fault.status, 400);
    assert_eq!(fault.code.as_deref(), Some("4000"));
    assert_eq!(fault.kind.as_deref(), Some("ValidationFault"));
    assert_eq!(fault.message, "Error parsing query");
    assert_eq!(fault.detail.as_deref(), Some("QueryParserError: x"));
    assert_eq!(fault.remedy(), Remedy::FailWindow);
    let failure = fault.failure();
    assert_eq!(failure.code, "qbo_4000");
    assert_eq!(failure.sqlstate, "38000");
    assert_eq!(failure.message, "QuickBooks says: Error parsing query (QueryParserError: x)");
    assert_eq!((failure.scope, failure.outage), (Scope::Window, true));
}

#[test]
fn a_code_is_a_short_word() {
    for (code, word) in
        [("4\\u0000'0 01", "qbo_4001"), (&"c".repeat(50), &*format!("qbo_{}", "c".repeat(40)))]
    {
        assert_eq!(coded(400, code).failure().code, word);
    }
}

#[test]
fn json_of_the_gateway() {
    let fault = fault(
        401,
        r#"{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=AuthenticationFailed; errorCode=003200; statusCode=401",
            "detail":"Malformed bearer token: too short or too long","code":"3200","element":null}],"type":"AUTHENTICATION"},
            "report":null,"queryResponse":null,"batchItemResponse":[],"requestId":null,"time":1700000000000,"status":null}"#,
    );
    assert_eq!(fault.code.as_deref(), Some("3200"));
    assert_eq!(fault.kind.as_deref(), Some("AUTHENTICATION"));
    assert_eq!(fault.detail.as_deref(), Some("Malformed bearer token: too short or too long"));
    assert_eq!(fault.remedy(), Remedy::Renew);
    let failure = fault.failure();
    assert_eq!(
        (failure.code.as_str(), failure.sqlstate, failure.scope),
        ("unauthorized", "28000", Scope::Run)
    );
    assert!(failure.hint.unwrap().contains("realm_id"));
}

#[test]
fn xml() {
    for head in ["", "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n", "\u{feff}\r\n"] {
        let fault = fault(
            429,
            &format!(
                "{head}<IntuitResponse time=\"2024-01-01T00:00:00.000-07:00\" xmlns=\"http://schema.intuit.com/finance/v3\">\
                 <Fault type=\"SERVICE\"><Error code=\"3001\"><Message>message=ThrottleExceeded; errorCode=003001; statusCode=429\
                 </Message><Detail> The request limit was reached. </Detail></Error></Fault></IntuitResponse>"
            ),
        );
        assert_eq!(fault.code.as_deref(), Some("3001"));
        assert_eq!(fault.kind.as_deref(), Some("SERVICE"));
        assert_eq!(fault.message, "message=ThrottleExceeded; errorCode=003001; statusCode=429");
        assert_eq!(fault.detail.as_deref(), Some("The request limit was reached."));
        assert_eq!(fault.remedy(), Remedy::Throttle);
    }
    let bare = fault(500, "<IntuitResponse><Fault/></IntuitResponse>");
    assert_eq!((bare.code.as_deref(), bare.message.as_str(), bare.detail.as_deref()), (None, "", None));
}

#[test]
fn pages_for_people_and_nothing_at_all() {
    let html =
        fault(503, "<html><head><title> 503 Service\nUnavailable </title></head><body><hr></body></html>");
    assert_eq!(html.message, "HTTP status 503 with a page titled \"503 Service\nUnavailable\"");
    assert_eq!(html.code, None);
    assert_eq!(html.remedy(), Remedy::Retry);
    assert_eq!(fault(502, "").message, "HTTP status 502 with an empty answer");
    assert_eq!(fault(502, " \n").message, "HTTP status 502 with an empty answer");
    assert_eq!(fault(502, "upstream").message, "HTTP status 502 with \"upstream\"");
    assert_eq!(fault(500, "{}").message, "HTTP status 500 with \"{}\"");
    assert_eq!(fault(200, "<title>").message, "HTTP status 200 with a page titled \"\"");
    let failure = fault(200, "<html>log in</html>").failure();
    assert_eq!((failure.code.as_str(), failure.outage), ("not_json", true));
}

#[test]
fn odd_bodies_never_panic_and_stay_short() {
    let deep_xml = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let long =
        format!(r#"{{"Fault":{{"Error":[{{"Message":"{0}","Detail":"{0}"}}]}}}}"#, "ü".repeat(100_000));
    let entities = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;\">]><Fault><Error><Message>&c;</Message></Error></Fault>";
    for body in [
        "null",
        "[]",
        r#"{"Fault":null}"#,
        r#"{"Fault":[]}"#,
        r#"{"Fault":{}}"#,
        r#"{"Fault":{"Error":null,"type":null}}"#,
        r#"{"Fault":{"Error":[]}}"#,
        r#"{"Fault":{"Error":[null]}}"#,
        r#"{"Fault":{"Error":[{"code":7,"Message":null}]}}"#,
        r#"{"Fault":{"Error":[{"code":{}}]}}"#,
        r#"{"Fault":{"Error":{"code":"1"}}}"#,
        "<title",
        "<title></title>",
        "<Fault",
        entities,
        &deep_xml,
        &long,
        &"<title>".repeat(10_000),
        &"{\"a\":".repeat(100_000),
    ] {
        for status in [0, 200, 302, 400, 401, 403, 429, 500, 504, 999, u16::MAX] {
            let fault = fault(status, body);
            assert!(fault.message.chars().count() <= 600);
            assert!(fault.detail.as_deref().unwrap_or_default().chars().count() <= 500);
            assert!(fault.failure().message.chars().count() < 1_100);
        }
    }
    assert_eq!(Fault::read(500, b"\xff\xfe\0").status, 500);
    assert_eq!(fault(400, r#"{"Fault":{"Error":[{"code":610}]}}"#).code.as_deref(), Some("610"));
}

#[test]
fn the_remedy_of_a_status() {
    for (status, remedy) in [
        (429, Remedy::Throttle),
        (504, Remedy::Shrink),
        (401, Remedy::Renew),
        (403, Remedy::StopRun),
        (404, Remedy::StopRun),
        (408, Remedy::Retry),
        (425, Remedy::Retry),
        (500, Remedy::Retry),
        (502, Remedy::Retry),
        (503, Remedy::Retry),
        (599, Remedy::Retry),
        // Nobody of QuickBooks' says so: some machine on the way.
        (400, Remedy::Retry),
        (200, Remedy::Retry),
        (301, Remedy::FailWindow),
        (302, Remedy::FailWindow),
    ] {
        assert_eq!(fault(status, "").remedy(), remedy, "{status}");
    }
}

#[test]
fn the_remedy_of_a_code() {
    for (codes, remedy) in [
        (&["3001", "003001"][..], Remedy::Throttle),
        (&["6002", "10100"], Remedy::Shrink),
        (&["4002", "10000"], Remedy::Bisect),
        (&["100", "3200", "003200", "3202"], Remedy::Renew),
        (
            &["110", "120", "130", "140", "3100", "003100", "5020", "5030", "6000", "6190", "10200"],
            Remedy::StopRun,
        ),
        (&["150", "500", "7001"], Remedy::Retry),
        (&["4000", "4001", "610", "2010", "", "0", "00", "x", "10001", "30010"], Remedy::FailWindow),
    ] {
        for code in codes {
            for status in [200, 400] {
                assert_eq!(coded(status, code).remedy(), remedy, "{status} {code}");
            }
        }
    }
}

#[test]
fn the_status_goes_first() {
    for (status, code, remedy) in [
        (429, "4000", Remedy::Throttle),
        (503, "3001", Remedy::Throttle),
        (401, "3001", Remedy::Throttle),
        (504, "4000", Remedy::Shrink),
        (500, "6002", Remedy::Shrink),
        (401, "4000", Remedy::Renew),
        (401, "120", Remedy::StopRun),
        (401, "130", Remedy::StopRun),
        (403, "3200", Remedy::StopRun),
        (404, "4002", Remedy::StopRun),
        (500, "4000", Remedy::Retry),
        (503, "6190", Remedy::Retry),
    ] {
        assert_eq!(coded(status, code).remedy(), remedy, "{status} {code}");
    }
    let said = r#"{"fault":{"error":[{"message":"message=ThrottleExceeded; errorCode=x"}]}}"#;
    assert_eq!(fault(200, said).remedy(), Remedy::Throttle);
}

#[test]
fn failures() {
    for (fault, code, sqlstate, scope, outage) in [
        (fault(429, ""), "throttled", "53400", Scope::Window, true),
        (coded(400, "3001"), "throttled", "53400", Scope::Window, true),
        (fault(401, ""), "unauthorized", "28000", Scope::Run, false),
        (coded(401, "130"), "forbidden", "28000", Scope::Run, false),
        (coded(403, "3100"), "forbidden", "28000", Scope::Run, false),
        (fault(404, ""), "not_found", "28000", Scope::Run, false),
        (coded(400, "6190"), "qbo_6190", "28000", Scope::Run, false),
        (coded(400, "5020"), "not_available", "38000", Scope::Run, false),
        (coded(403, "5030"), "not_available", "38000", Scope::Run, false),
        (coded(500, "500"), "http_500", "08006", Scope::Window, true),
        (fault(504, ""), "http_504", "08006", Scope::Window, true),
        (fault(503, "<html>"), "http_503", "08006", Scope::Window, true),
        (fault(400, "<html>"), "not_json", "08006", Scope::Window, true),
        (coded(400, "10000"), "qbo_10000", "38000", Scope::Window, false),
        (coded(400, "6002"), "qbo_6002", "38000", Scope::Window, false),
        (coded(408, "x"), "qbo_x", "38000", Scope::Window, false),
        // What is wrong with the query of one window is wrong with all.
        (coded(400, "4000"), "qbo_4000", "38000", Scope::Window, true),
        (coded(400, "4001"), "qbo_4001", "38000", Scope::Window, true),
        (coded(400, "610"), "qbo_610", "38000", Scope::Window, false),
        (fault(302, ""), "unexpected_redirect", "08006", Scope::Window, true),
    ] {
        let failure = fault.failure();
        assert_eq!(
            (failure.code.as_str(), failure.sqlstate, failure.scope, failure.outage),
            (code, sqlstate, scope, outage),
            "{fault:?}"
        );
        assert!(failure.message.starts_with("QuickBooks says: "));
        assert_eq!(failure.to_string(), failure.message);
    }
}

#[test]
fn a_failure_is_an_error_with_its_words() {
    let error = qbo_raw::error::Error::from(coded(429, "3001").failure());
    assert_eq!((error.sqlstate(), error.code().as_str()), ("53400", "throttled"));
    assert_eq!(error.to_string(), "QuickBooks says: m (d)");
    assert!(error.hint().unwrap().contains("requests_per_minute"));
    let detail_only = fault(500, r#"{"Fault":{"Error":[{"Message":"","Detail":"d","code":"1"}]}}"#);
    assert_eq!(detail_only.failure().message, "QuickBooks says: d");
}
