//! What is read of a record: its Id and the time of its last update.

use super::page::{ids, listed};
use chrono::{TimeZone, Utc};
use qbo_raw::domain::page::Row;

#[test]
fn an_id_is_text_or_a_number() {
    let longest = "7".repeat(255);
    let umlauts = "ü".repeat(255);
    for (json, id) in [
        (r#""145""#, "145"),
        ("145", "145"),
        ("-1", "-1"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.50", "1.50"),
        (r#"" 1 ""#, " 1 "),
        (r#""\u0031""#, "1"),
        (&format!("\"{longest}\""), &longest),
        (&format!("\"{umlauts}\""), &umlauts),
    ] {
        let page = listed(&format!(r#"{{"Id":{json}}}"#));
        assert_eq!(ids(&page), [Some(id)]);
    }
}

#[test]
fn a_row_without_an_id_is_kept_apart_and_whole() {
    let long = format!("\"{}\"", "7".repeat(300));
    let digits = "7".repeat(300);
    for (json, reason) in [
        ("null", "it has no Id"),
        ("{}", "its Id is neither text nor number"),
        (r#"{"value":"1"}"#, "its Id is neither text nor number"),
        ("[1]", "its Id is neither text nor number"),
        ("true", "its Id is neither text nor number"),
        (r#""""#, "its Id is empty"),
        (r#""a\u0000b""#, "its Id holds a NUL character"),
        (r#""\ud800""#, "its Id is no text"),
        (&long, "its Id is too long"),
        (&digits, "its Id is too long"),
    ] {
        let record = format!(r#"{{"Id":{json},"n":1.10}}"#);
        let page = listed(&record);
        match &page.rows()[0] {
            Row::Unusable(unusable) => assert_eq!(unusable.reason, reason, "{json}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(page.raw(&page.rows()[0]), record);
    }
    let page = listed(r#"{"id":"1"},null,7,"x",[],{}"#);
    assert_eq!(page.len(), 6);
    assert_eq!(ids(&page), [None; 6]);
    let raw: Vec<_> = page.rows().iter().map(|row| page.raw(row)).collect();
    assert_eq!(raw, [r#"{"id":"1"}"#, "null", "7", "\"x\"", "[]", "{}"]);
}

#[test]
fn the_time_of_the_last_update() {
    let updated = |meta: &str| {
        let page = listed(&format!(r#"{{"Id":"1","MetaData":{meta}}}"#));
        match &page.rows()[0] {
            Row::Record(record) => record.updated,
            other => panic!("{other:?}"),
        }
    };
    let noon = Some(Utc.with_ymd_and_hms(2024, 7, 1, 12, 0, 0).unwrap());
    assert_eq!(updated(r#"{"LastUpdatedTime":"2024-07-01T05:00:00-07:00"}"#), noon);
    assert_eq!(updated(r#"{"CreateTime":"x","LastUpdatedTime":"2024-07-01T12:00:00Z"}"#), noon);
    assert_eq!(updated(r#"{"LastUpdatedTime":"2024-07-01T12:00:00.000+00:00"}"#), noon);
    for unknown in [
        "null",
        "[]",
        "7",
        "{}",
        r#"{"LastUpdatedTime":null}"#,
        r#"{"LastUpdatedTime":1719835200}"#,
        r#"{"LastUpdatedTime":"2024-07-01T12:00:00"}"#,
        r#"{"LastUpdatedTime":"yesterday"}"#,
    ] {
        assert_eq!(updated(unknown), None, "{unknown}");
    }
}
