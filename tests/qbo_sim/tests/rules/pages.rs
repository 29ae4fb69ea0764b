//! The layout of pages, and the order and the times in them.

use crate::client::{Client, counts};
use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use qbo_sim::{IdOrder, Options};
use std::collections::HashSet;

const EVERY: &[&str] = &[
    "Account",
    "Bill",
    "BillPayment",
    "Budget",
    "Class",
    "CompanyCurrency",
    "CreditCardPayment",
    "CreditMemo",
    "Customer",
    "CustomerType",
    "Department",
    "Deposit",
    "Employee",
    "Estimate",
    "Invoice",
    "Item",
    "JournalCode",
    "JournalEntry",
    "Payment",
    "PaymentMethod",
    "Purchase",
    "PurchaseOrder",
    "RefundReceipt",
    "ReimburseCharge",
    "SalesReceipt",
    "TaxAgency",
    "TaxCode",
    "TaxPayment",
    "TaxRate",
    "Term",
    "TimeActivity",
    "Transfer",
    "Vendor",
    "VendorCredit",
];

const WITHOUT_TOTAL: &[&str] = &[
    "Account",
    "CreditMemo",
    "Customer",
    "CustomerType",
    "Department",
    "Employee",
    "Estimate",
    "Item",
    "Payment",
    "PaymentMethod",
    "Purchase",
    "SalesReceipt",
    "Term",
    "TimeActivity",
    "Vendor",
];

const WITH_ACTIVE: &[&str] = &[
    "Account",
    "Budget",
    "Class",
    "CompanyCurrency",
    "Customer",
    "CustomerType",
    "Department",
    "Employee",
    "Item",
    "PaymentMethod",
    "TaxCode",
    "TaxRate",
    "Term",
    "Vendor",
];

#[test]
fn every_entity_answers_under_its_key_and_totalcount_is_only_where_it_was_seen() {
    let wanted: Vec<(&str, u64)> = EVERY.iter().map(|name| (*name, 30)).collect();
    let client = Client::company(&wanted);
    for name in EVERY {
        let filter = if WITH_ACTIVE.contains(name) { " WHERE Active IN (true, false)" } else { "" };
        let answer = client.query(&format!("SELECT * FROM {name}{filter} MAXRESULTS 20"));
        let key = if *name == "CreditCardPayment" { "CreditCardPaymentTxn" } else { name };
        let rows = answer.rows(key);
        assert_eq!(rows.len(), 20, "{name}");
        let response = &answer.json()["QueryResponse"];
        assert_eq!((&response["startPosition"], &response["maxResults"]), (&1.into(), &20.into()));
        assert_eq!(response.get("totalCount").is_none(), WITHOUT_TOTAL.contains(name), "{name}");
        for row in &rows {
            assert!(row["Id"].is_string() && row["MetaData"]["CreateTime"].is_string(), "{row}");
            assert!(row["MetaData"]["LastUpdatedTime"].is_string());
            let pseudo = row["Id"] == "TAX" || row["Id"] == "NON";
            assert_eq!(row.get("SyncToken").is_none(), pseudo);
            assert_eq!(row.get("Active").is_some(), WITH_ACTIVE.contains(name) && !pseudo, "{name}: {row}");
        }
        assert_eq!(client.count(&format!("{name}{filter}")), 30);
    }
}

#[test]
fn an_empty_page_is_an_empty_object() {
    let client = Client::company(&[("Invoice", 10)]);
    let past = client.query("SELECT * FROM Invoice STARTPOSITION 11");
    assert_eq!(past.status, 200);
    assert!(past.body.starts_with("{\"QueryResponse\":{},\"time\":\""), "{}", past.body);
    let none = client.query("SELECT * FROM Vendor");
    assert!(none.body.starts_with("{\"QueryResponse\":{},"), "{}", none.body);
    let count = client.query("SELECT COUNT(*) FROM Vendor");
    assert!(count.body.starts_with("{\"QueryResponse\":{\"totalCount\":0},"), "{}", count.body);
}

#[test]
fn maxresults_and_totalcount_tell_the_rows_of_the_answer() {
    let client = Client::company(&[("Invoice", 10)]);
    let last = client.query("SELECT * FROM Invoice STARTPOSITION 8 MAXRESULTS 7");
    let end = "],\"startPosition\":8,\"maxResults\":3,\"totalCount\":3},\"time\":\"";
    assert!(last.body.contains(end), "{}", last.body);
}

#[test]
fn times_are_pacific_to_the_second_through_the_change_of_the_clocks() {
    // In 2025 the clocks went back on 2 November at 09:00 UTC.
    let day = |month, day| Utc.from_utc_datetime(&NaiveDate::from_ymd_opt(2025, month, day).unwrap().into());
    let client = Client::new(Options { from: day(11, 2), to: day(11, 3), ..counts(&[("Invoice", 1000)]) });
    let rows = client
        .query("SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime, Id MAXRESULTS 1000")
        .rows("Invoice");
    let (mut summer, mut winter, mut before) = (0, 0, DateTime::UNIX_EPOCH);
    for row in rows {
        let text = row["MetaData"]["LastUpdatedTime"].as_str().unwrap();
        let time = DateTime::parse_from_rfc3339(text).unwrap();
        assert_eq!(text.len(), "2025-11-02T01:30:00-07:00".len());
        let is_summer = time.to_utc() < day(11, 2) + chrono::TimeDelta::hours(9);
        assert_eq!(text.ends_with("-07:00"), is_summer, "{text}");
        assert_eq!(text.ends_with("-08:00"), !is_summer, "{text}");
        (summer, winter) = (summer + i32::from(is_summer), winter + i32::from(!is_summer));
        assert!(time.to_utc() >= before, "ordered as instants, not as texts");
        before = time.to_utc();
    }
    assert!(summer > 100 && winter > 100);
}

#[test]
fn the_envelope_has_milliseconds_and_a_pacific_offset() {
    let answer = Client::company(&[]).query("SELECT COUNT(*) FROM Invoice");
    let time = answer.json()["time"].as_str().unwrap().to_owned();
    assert_eq!(time.len(), "2020-09-29T06:52:56.527-07:00".len());
    assert!(time.ends_with("-07:00") || time.ends_with("-08:00"), "{time}");
    assert!((DateTime::parse_from_rfc3339(&time).unwrap().to_utc() - Utc::now()).num_seconds().abs() < 5);
}

#[test]
fn a_query_gives_active_records_only_unless_it_asks_for_others() {
    let client = Client::company(&[("Customer", 200), ("Item", 200)]);
    for name in ["Customer", "Item"] {
        let (default, active) = (client.count(name), client.count(&format!("{name} WHERE Active = true")));
        let inactive = client.count(&format!("{name} WHERE Active = false"));
        assert_eq!(default, active);
        assert!(inactive > 0);
        assert_eq!(active + inactive, 200);
        assert_eq!(client.count(&format!("{name} WHERE Active IN (true, false)")), 200);
        let rows =
            client.query(&format!("SELECT * FROM {name} WHERE Active IN (false) MAXRESULTS 1000")).rows(name);
        assert_eq!(rows.len() as u64, inactive);
        let key = if name == "Item" { "Name" } else { "DisplayName" };
        for row in rows {
            assert!(row[key].as_str().unwrap().ends_with(" (deleted)"), "{row}");
        }
        let ids: HashSet<String> =
            client.query(&format!("SELECT * FROM {name} MAXRESULTS 1000")).ids(name).into_iter().collect();
        assert_eq!(ids.len() as u64, active);
    }
}

#[test]
fn without_orderby_transactions_come_newest_first_and_lists_by_name() {
    let client = Client::company(&[("Invoice", 200), ("Customer", 60), ("Item", 60)]);
    let invoices = client.query("SELECT * FROM Invoice MAXRESULTS 1000").rows("Invoice");
    let time = |row: &serde_json::Value| {
        DateTime::parse_from_rfc3339(row["MetaData"]["LastUpdatedTime"].as_str().unwrap()).unwrap()
    };
    assert!(invoices.windows(2).all(|pair| time(&pair[0]) >= time(&pair[1])));
    for (name, key) in [("Customer", "DisplayName"), ("Item", "Name")] {
        let rows = client.query(&format!("SELECT * FROM {name} MAXRESULTS 1000")).rows(name);
        let names: Vec<String> = rows.iter().map(|row| row[key].as_str().unwrap().to_lowercase()).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}

#[test]
fn pages_ordered_by_time_and_id_have_every_record_once() {
    for id_order in [IdOrder::Number, IdOrder::Text] {
        let client = Client::new(Options { id_order, ..counts(&[("Invoice", 437)]) });
        let mut ids = Vec::new();
        for start in (1..).step_by(50) {
            let page = client.query(&format!(
                "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2025-07-01T00:00:00Z' \
                 ORDERBY MetaData.LastUpdatedTime ASC, Id ASC STARTPOSITION {start} \
                 MAXRESULTS 50"
            ));
            let rows = page.ids("Invoice");
            if rows.is_empty() {
                break;
            }
            ids.extend(rows);
        }
        assert_eq!(ids, client.ids("Invoice"));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 437);
    }
}

#[test]
fn orderby_id_sorts_as_numbers_or_as_texts() {
    let ids = |id_order| {
        let client = Client::new(Options { id_order, ..counts(&[("Invoice", 12)]) });
        client.query("SELECT * FROM Invoice ORDERBY Id").ids("Invoice")
    };
    assert_eq!(ids(IdOrder::Number)[..3], ["1", "2", "3"]);
    assert_eq!(ids(IdOrder::Text), ["1", "10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn records_of_one_second_have_no_order_unless_one_is_asked_for() {
    let client = Client::company(&[("Invoice", 60)]);
    let at = "2025-08-15T12:00:00Z".parse().unwrap();
    for id in client.ids("Invoice") {
        client.set_updated("Invoice", &id, at);
    }
    let asked = |order: &str| client.query(&format!("SELECT * FROM Invoice ORDERBY {order}")).ids("Invoice");
    assert_ne!(asked("MetaData.LastUpdatedTime"), asked("MetaData.LastUpdatedTime"));
    assert_eq!(asked("MetaData.LastUpdatedTime, Id"), asked("MetaData.LastUpdatedTime, Id"));
    assert_eq!(asked("MetaData.LastUpdatedTime").iter().collect::<HashSet<_>>().len(), 60);
}

#[test]
fn ids_are_texts_and_not_all_are_small_numbers() {
    let client = Client::company(&[("TaxCode", 5), ("CustomerType", 3)]);
    assert_eq!(
        client.query("SELECT * FROM TaxCode WHERE Active IN (true,false) ORDERBY Id").ids("TaxCode"),
        ["TAX", "NON", "3", "4", "5"]
    );
    assert_eq!(client.query("SELECT * FROM TaxCode WHERE Id = 'NON'").ids("TaxCode"), ["NON"]);
    let types = client
        .query("SELECT * FROM CustomerType WHERE Active IN (true,false) ORDERBY Id")
        .ids("CustomerType");
    assert_eq!(types[0], "5000000000000003466");
}

#[test]
fn money_keeps_its_scale_and_invoices_have_their_weight() {
    let client = Client::company(&[("Invoice", 500)]);
    let (mut sizes, mut lines) = (Vec::new(), Vec::new());
    for (_, json) in client.records("Invoice") {
        let total = json.split("\"TotalAmt\":").nth(1).unwrap().split(',').next().unwrap();
        assert_eq!(total.split('.').nth(1).map(str::len), Some(2), "{total}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        lines.push(value["Line"].as_array().unwrap().len() - 1);
        sizes.push(json.len());
    }
    let average = sizes.iter().sum::<usize>() / sizes.len();
    assert!((2_500..4_500).contains(&average), "{average} bytes");
    assert!(sizes.iter().all(|size| (1_500..8_000).contains(size)));
    assert!(lines.iter().all(|lines| (3..=20).contains(lines)));
    assert!(lines.contains(&3) && lines.iter().any(|lines| *lines > 14));
}

#[test]
fn a_page_is_the_text_of_its_records_byte_for_byte() {
    let client = Client::company(&[("Invoice", 40)]);
    let page = client.query("SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime, Id");
    let records: Vec<String> = client.records("Invoice").map(|(_, json)| json).collect();
    let start = format!("{{\"QueryResponse\":{{\"Invoice\":[{}],\"startPosition\":1,", records.join(","));
    assert!(page.body.starts_with(&start));
}
