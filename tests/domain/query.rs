//! The exact text of a query.

use chrono::{TimeZone, Utc};
use qbo_raw::domain::entity::{Entity, catalogue};
use qbo_raw::domain::query::{Query, Slice, literal};
use qbo_raw::domain::window::{Window, WindowOn};

fn query(entity: &str, on: WindowOn) -> Query {
    let window = Window {
        start: Utc.with_ymd_and_hms(2024, 2, 28, 0, 0, 0).unwrap(),
        end: Utc.with_ymd_and_hms(2024, 3, 1, 0, 0, 0).unwrap(),
    };
    Query { entity: Entity::find(entity).unwrap(), on, window }
}

fn slice(start_position: u32, max_results: u32) -> Slice {
    Slice { start_position, max_results }
}

#[test]
fn a_page_of_transactions() {
    assert_eq!(
        query("invoices", WindowOn::Updated).page(slice(1, 1_000)),
        "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2024-02-28T00:00:00+00:00' \
         AND MetaData.LastUpdatedTime < '2024-03-01T00:00:00+00:00' \
         ORDERBY MetaData.LastUpdatedTime ASC, Id ASC STARTPOSITION 1 MAXRESULTS 1000"
    );
}

#[test]
fn a_page_of_a_list_has_inactive_records_as_well() {
    assert_eq!(
        query("customers", WindowOn::Created).page(slice(501, 500)),
        "SELECT * FROM Customer WHERE MetaData.CreateTime >= '2024-02-28T00:00:00+00:00' \
         AND MetaData.CreateTime < '2024-03-01T00:00:00+00:00' AND Active IN (true, false) \
         ORDERBY MetaData.CreateTime ASC, Id ASC STARTPOSITION 501 MAXRESULTS 500"
    );
    assert!(!query("tax_agencies", WindowOn::Created).page(slice(1, 1)).contains("Active"));
}

#[test]
fn a_count_has_the_same_condition() {
    for entity in catalogue() {
        for on in [WindowOn::Updated, WindowOn::Created] {
            let query = query(entity.name, on);
            let (page, count) = (query.page(slice(1, 1)), query.count());
            let condition = page.split_once(" WHERE ").unwrap().1.split_once(" ORDERBY ").unwrap().0;
            assert_eq!(count, format!("SELECT COUNT(*) FROM {} WHERE {condition}", entity.qbo));
        }
    }
}

#[test]
fn a_slice_out_of_bounds_is_brought_into_them() {
    for (asked, sent) in [
        (slice(0, 0), "STARTPOSITION 1 MAXRESULTS 1"),
        (slice(7, 1_001), "STARTPOSITION 7 MAXRESULTS 1000"),
        (slice(u32::MAX, u32::MAX), "STARTPOSITION 4294967295 MAXRESULTS 1000"),
    ] {
        let text = query("bills", WindowOn::Updated).page(asked);
        assert!(text.ends_with(sent), "{text}");
    }
}

#[test]
fn quotes_and_backslashes_are_escaped() {
    for (value, quoted) in [
        ("", r"''"),
        ("plain", r"'plain'"),
        ("O'Brien", r"'O\'Brien'"),
        (r"\", r"'\\'"),
        (r"\'", r"'\\\''"),
        (r"x\' OR Id > \'0", r"'x\\\' OR Id > \\\'0'"),
        ("\"%;\n🧾", "'\"%;\n🧾'"),
    ] {
        assert_eq!(literal(value), quoted);
    }
}

/// Reads a literal as QuickBooks does; gives what stands behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.strip_prefix('\'')?.chars();
    loop {
        match chars.next()? {
            '\'' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[test]
fn no_value_ends_its_literal() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..10_000 {
        let value: String = (0..random.usize(0..12))
            .map(|_| *random.choice(&['\'', '\\', 'a', ' ', '🧾', ';']).unwrap())
            .collect();
        assert_eq!(unquote(&literal(&value)), Some((value, "")));
    }
}
