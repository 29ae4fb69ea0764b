//! Reading a page: nothing is lost or changed, and what is no page is never taken for an empty one.

use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::page::{Page, PageError, Row, read, read_count};

fn invoices(body: impl Into<Vec<u8>>) -> Result<Page, PageError> {
    read(Entity::find("invoices").unwrap(), body.into())
}

fn good(body: impl Into<Vec<u8>>) -> Page {
    invoices(body).unwrap_or_else(|error| panic!("{error:?}"))
}

/// A page with these elements.
pub fn listed(elements: &str) -> Page {
    good(format!(r#"{{"QueryResponse":{{"Invoice":[{elements}]}},"time":"x"}}"#))
}

pub fn ids(page: &Page) -> Vec<Option<&str>> {
    page.rows().iter().map(Row::id).collect()
}

fn shape(body: &str) -> String {
    match invoices(body) {
        Err(PageError::UnexpectedShape { what }) => what,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn an_ordinary_page() {
    let page = good(
        r#"{"QueryResponse":{"Invoice":[{"Id":"1","x":1.10}, {"Id":"2"}],"startPosition":1,"maxResults":2,"totalCount":7},"time":"2024"}"#,
    );
    assert_eq!(ids(&page), [Some("1"), Some("2")]);
    assert_eq!((page.len(), page.is_empty(), page.claimed_total()), (2, false, Some(7)));
    assert_eq!(page.raw(&page.rows()[0]), r#"{"Id":"1","x":1.10}"#);
    assert_eq!(page.raw(&page.rows()[1]), r#"{"Id":"2"}"#);
}

#[test]
fn an_empty_page() {
    for body in [
        r#"{"QueryResponse":{}}"#,
        r#"{"QueryResponse":{},"time":"2024-01-01T00:00:00Z"}"#,
        r#" { "time" : null , "QueryResponse" : { "Invoice" : [ ] } } "#,
        r#"{"QueryResponse":{"startPosition":1,"maxResults":0,"Warnings":[{"x":1}]}}"#,
    ] {
        assert!(good(body).is_empty(), "{body}");
    }
    assert_eq!(good(r#"{"QueryResponse":{"totalCount":3}}"#).claimed_total(), Some(3));
}

#[test]
fn another_shape_is_no_empty_page() {
    assert_eq!(shape("{}"), "there is no QueryResponse");
    assert_eq!(shape(r#"{"time":"2024"}"#), "there is no QueryResponse");
    assert_eq!(shape(r#"{"queryResponse":{}}"#), "there is no QueryResponse");
    for value in ["null", "[]", "[{}]", "1", "-1", "1.5", "\"x\"", "true"] {
        assert_eq!(shape(&format!(r#"{{"QueryResponse":{value}}}"#)), "QueryResponse is no object");
    }
    for value in ["null", "{}", "{\"a\":[1],\"b\":{}}", "1", "-1", "1.5", "\"x\"", "false"] {
        assert_eq!(shape(&format!(r#"{{"QueryResponse":{{"Invoice":{value}}}}}"#)), "Invoice is no list");
    }
    for key in ["invoice", "INVOICE", "Invoices", "Customer", "Fakt\u{fc}ra"] {
        let what = shape(&format!(r#"{{"QueryResponse":{{"{key}":[{{"Id":"1"}}]}}}}"#));
        assert_eq!(what, format!("there is a list \"{key}\" instead of \"Invoice\""));
    }
    for key in ["invoice", "QueryResponse", "pageInfo"] {
        let what = shape(&format!(r#"{{"QueryResponse":{{"x":1,"{key}":{{"Id":"1"}}}}}}"#));
        assert_eq!(what, format!("there is an object \"{key}\" instead of \"Invoice\""));
    }
    let long = shape(&format!(r#"{{"QueryResponse":{{"{}":[]}}}}"#, "k".repeat(10_000)));
    assert!(long.len() < 120, "{long}");
}

#[test]
fn the_other_key_of_an_entity() {
    let entity = Entity::find("CreditCardPayment").unwrap();
    for key in ["CreditCardPaymentTxn", "CreditCardPayment"] {
        let body = format!(r#"{{"QueryResponse":{{"{key}":[{{"Id":"1"}}]}}}}"#);
        assert_eq!(read(entity, body.into_bytes()).unwrap().len(), 1);
    }
    let body = br#"{"QueryResponse":{"Invoice":[]}}"#.to_vec();
    assert!(matches!(read(entity, body), Err(PageError::UnexpectedShape { .. })));
}

#[test]
fn a_fault_with_status_200_is_seen_wherever_it_stands() {
    let fault = r#"{"Error":[{"Message":"m","Detail":"d","code":"4000"}],"type":"ValidationFault"}"#;
    for body in [
        format!(r#"{{"Fault":{fault},"time":"x"}}"#),
        format!(r#"{{"fault":{fault}}}"#),
        format!(r#"{{"QueryResponse":{{"Fault":{fault}}}}}"#),
        format!(r#"{{"QueryResponse":{{"fault":{fault},"Invoice":[{{"Id":"1"}}]}}}}"#),
        format!(r#"{{"QueryResponse":{{"Invoice":[]}},"Fault":{fault}}}"#),
        format!(r#"{{"Fault":{fault},"Fault":null,"QueryResponse":{{}}}}"#),
    ] {
        match invoices(body.as_str()) {
            Err(PageError::Fault(fault)) => {
                assert_eq!((fault.status, fault.code.as_deref()), (200, Some("4000")));
                assert_eq!((fault.message.as_str(), fault.detail.as_deref()), ("m", Some("d")));
                assert_eq!(fault.kind.as_deref(), Some("ValidationFault"));
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    for odd in ["{}", "[]", "\"x\"", "1", r#"{"Error":1}"#] {
        let body = format!(r#"{{"QueryResponse":{{}},"Fault":{odd}}}"#);
        assert!(matches!(invoices(body.as_str()), Err(PageError::Fault(_))), "{body}");
    }
}

#[test]
fn a_fault_that_is_null_is_none() {
    for body in [
        r#"{"Fault":null,"QueryResponse":{"Invoice":[{"Id":"1"}]}}"#,
        r#"{"QueryResponse":{"fault":null,"Fault" : null,"Invoice":[{"Id":"1"}]},"fault":null}"#,
    ] {
        assert_eq!(good(body).len(), 1);
    }
}

#[test]
fn of_a_repeated_key_the_last_counts() {
    let page = good(
        r#"{"QueryResponse":{"Invoice":[{"Id":"0"}]},
            "QueryResponse":{"Invoice":[{"Id":"1"}],"totalCount":1,"Invoice":[{"Id":"2","Id":"3"}],"totalCount":2}}"#,
    );
    assert_eq!(ids(&page), [Some("3")]);
    assert_eq!(page.claimed_total(), Some(2));
    assert_eq!(page.raw(&page.rows()[0]), r#"{"Id":"2","Id":"3"}"#);
    assert_eq!(ids(&listed(r#"{"Id":"1","Id":null}"#)), [None]);
    let page =
        listed(r#"{"Id":"1","MetaData":{"LastUpdatedTime":"x","LastUpdatedTime":"2024-01-01T00:00:00Z"}}"#);
    assert!(matches!(&page.rows()[0], Row::Record(record) if record.updated.is_some()));
}

#[test]
fn records_keep_their_bytes() {
    let records = [
        r#"{"Id":"1","n":1.10,"m":12345678901234567890123,"o":1e400,"p":-0.0,"q":1E+2}"#,
        "{ \"Id\" :\t\"2\" ,\r\n \"a\" : [ 1 , 2 ] }",
        r#"{"Id":"3","s":"\u00e9\ud83e\uddfe\/","t":"é🧾","z":1,"a":2,"z":3}"#,
        "{\"Id\":\"4\",\"lone\":\"\\ud800\",\"nul\":\"\\u0000\"}",
    ];
    for bom in ["", "\u{feff}"] {
        let page = good(format!("{bom}{{\"QueryResponse\":{{\"Invoice\":[{}]}}}}", records.join(" ,\n ")));
        assert_eq!(page.rows().iter().map(|row| page.raw(row)).collect::<Vec<_>>(), records);
        assert_eq!(ids(&page), [Some("1"), Some("2"), Some("3"), Some("4")]);
    }
}

#[test]
fn a_key_that_is_no_unicode_is_a_key_like_any_other() {
    let record = r#"{"\ud800":1,"Id":"1","MetaData":{"\udfff":1,"LastUpdatedTime":"2024-01-01T00:00:00Z"}}"#;
    let page = good(format!(r#"{{"\ud800":1,"QueryResponse":{{"\udfff":2,"Invoice":[{record}]}}}}"#));
    assert!(matches!(&page.rows()[0], Row::Record(record) if record.id == "1" && record.updated.is_some()));
    assert_eq!(page.raw(&page.rows()[0]), record);
}

#[test]
fn depth_does_not_crash() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for value in [&deep, &objects] {
        let page =
            listed(&format!(r#"{{"Id":"1","x":{value},"MetaData":{value}}},{value},{{"Id":{value}}}"#));
        assert_eq!(page.rows()[0].id(), Some("1"));
        assert_eq!(ids(&page)[1..], [None, None]);
        assert!(page.raw(&page.rows()[0]).len() > 200_000);
        for body in [
            value.to_string(),
            format!(r#"{{"x":{value},"QueryResponse":{{"y":{value}}}}}"#),
            format!(r#"{{"Fault":{value}}}"#),
            format!(r#"{{"Fault":{{"Error":[{{"code":{value}}}]}}}}"#),
        ] {
            let _ = invoices(body);
        }
    }
    assert!(invoices("[".repeat(100_000)).is_err());
    assert!(invoices(r#"{"QueryResponse":"#.repeat(100_000)).is_err());
}

#[test]
fn what_is_no_json_is_said_so() {
    for empty in ["", " ", "\r\n\t", "\u{feff}", "\u{feff} \n"] {
        assert_eq!(invoices(empty).unwrap_err(), PageError::EmptyBody, "{empty:?}");
    }
    for other in ["<html>x", "null", "[]", "\"x\"", "x{", "Service Unavailable"] {
        match invoices(other) {
            Err(PageError::NotJson { start }) => assert_eq!(start, other),
            wrong => panic!("{other}: {wrong:?}"),
        }
    }
    match invoices("é".repeat(10_000)) {
        Err(PageError::NotJson { start }) => assert_eq!(start.chars().count(), 4_000),
        other => panic!("{other:?}"),
    }
    let utf_16 = |bytes: fn(u16) -> [u8; 2]| "{}".encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    for wide in [utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes), b"{\0\0\0".to_vec(), vec![0; 9]] {
        assert_eq!(invoices(wide).unwrap_err(), PageError::BadEncoding);
    }
    for bytes in [&b"{\"QueryResponse\":{\"Invoice\":[{\"Id\":\"\xff\"}]}}"[..], b"\xff\xfe{\0", b"{\xc3("] {
        assert_eq!(invoices(bytes).unwrap_err(), PageError::BadEncoding);
    }
}

#[test]
fn json_cut_off_anywhere_or_with_more_behind_it_is_broken() {
    let whole =
        r#"{"QueryResponse":{"Invoice":[{"Id":"1","a":[1.5,true]},{"Id":"2"}],"totalCount":2},"time":"x"}"#;
    assert!(invoices(whole).is_ok());
    for length in 1..whole.len() {
        let result = invoices(&whole[..length]);
        assert!(matches!(result, Err(PageError::BadJson { .. })), "{length}: {result:?}");
    }
    for tail in ["x", "{}", "}", ",", "\0", "\u{feff}"] {
        let result = invoices(format!("{whole}{tail}"));
        assert!(matches!(result, Err(PageError::BadJson { .. })), "{tail:?}: {result:?}");
    }
    assert!(invoices(format!("{whole} \r\n")).is_ok());
    for element in ["{\"Id\":\"1\",}", "{\"Id\":01}", "{\"Id\":\"a\nb\"}", "{'Id':1}", "{\"Id\":NaN}", ""] {
        let result = invoices(format!(r#"{{"QueryResponse":{{"Invoice":[{{"Id":"1"}},{element}]}}}}"#));
        assert!(matches!(result, Err(PageError::BadJson { .. })), "{element}: {result:?}");
    }
}

#[test]
fn rows_beyond_a_number_can_be_left_out() {
    let mut page = listed(r#"{"Id":"1"},{"Id":"2"},{"Id":"3"}"#);
    page.cut(5);
    assert_eq!(page.len(), 3);
    page.cut(2);
    assert_eq!(ids(&page), [Some("1"), Some("2")]);
    assert_eq!(page.raw(&page.rows()[1]), r#"{"Id":"2"}"#);
}

#[test]
fn a_count() {
    let count = |body: &str| read_count(body.as_bytes().to_vec());
    assert_eq!(count(r#"{"QueryResponse":{"totalCount":0}}"#), Ok(0));
    assert_eq!(count(r#"{"QueryResponse":{"totalCount":1234},"time":"x"}"#), Ok(1_234));
    for none in [
        "{}",
        "{\"totalCount\":\"7\"}",
        "{\"totalCount\":-1}",
        "{\"totalCount\":1.5}",
        "{\"totalCount\":null}",
    ] {
        let result = count(&format!(r#"{{"QueryResponse":{none}}}"#));
        assert!(matches!(result, Err(PageError::UnexpectedShape { .. })), "{none}: {result:?}");
    }
    assert!(matches!(count(r#"{"Fault":{}}"#), Err(PageError::Fault(_))));
    assert_eq!(count(""), Err(PageError::EmptyBody));
}
