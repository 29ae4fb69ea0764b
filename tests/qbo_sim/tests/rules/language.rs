//! The query language.

use crate::client::Client;

fn company() -> Client {
    Client::company(&[("Invoice", 300), ("Customer", 60)])
}

#[test]
fn a_page_has_100_rows_unless_maxresults_says_otherwise_and_1000_at_most() {
    let client = company();
    assert_eq!(client.query("SELECT * FROM Invoice").rows("Invoice").len(), 100);
    assert_eq!(client.query("SELECT * FROM Invoice MAXRESULTS 1000").rows("Invoice").len(), 300);
    let (code, detail) = client.query("SELECT * FROM Invoice MAXRESULTS 1500").fault();
    assert_eq!(code, "4001");
    assert_eq!(detail, "QueryValidationError: value 1500 is too large. Max allowed value is 1000.");
}

#[test]
fn startposition_counts_rows_from_1_and_stands_before_or_behind_maxresults() {
    let client = company();
    let all = client.query("SELECT * FROM Invoice ORDERBY Id MAXRESULTS 1000").ids("Invoice");
    let one = client.query("SELECT * FROM Invoice ORDERBY Id STARTPOSITION 11 MAXRESULTS 5");
    let other = client.query("SELECT * FROM Invoice ORDERBY Id MAXRESULTS 5 STARTPOSITION 11");
    assert_eq!(one.ids("Invoice"), &all[10..15]);
    assert_eq!(other.ids("Invoice"), one.ids("Invoice"));
    assert_eq!(one.json()["QueryResponse"]["startPosition"], 11);
    let (code, detail) = client.query("SELECT * FROM Invoice STARTPOSITION 0 MAXRESULTS 5").fault();
    assert_eq!(code, "4001");
    assert!(detail.contains("value 0 is too small. Min allowed value is 1"), "{detail}");
}

#[test]
fn orderby_is_one_word_or_two_and_takes_several_keys() {
    let client = company();
    let one =
        client.query("SELECT * FROM Invoice ORDERBY TxnDate DESC, Id ASC MAXRESULTS 1000").rows("Invoice");
    let two = client.query("select * from invoice order by txndate desc, id maxresults 1000").rows("Invoice");
    assert_eq!(one, two);
    let key = |row: &serde_json::Value| {
        (row["TxnDate"].as_str().unwrap().to_owned(), row["Id"].as_str().unwrap().parse::<u64>().unwrap())
    };
    for pair in one.windows(2) {
        let (a, b) = (key(&pair[0]), key(&pair[1]));
        assert!(a.0 > b.0 || (a.0 == b.0 && a.1 < b.1), "{a:?} {b:?}");
    }
}

#[test]
fn there_is_no_or_no_unequal_and_nothing_behind_the_end() {
    let client = company();
    for statement in [
        "SELECT * FROM Invoice WHERE Id = '1' OR Id = '2'",
        "SELECT * FROM Invoice WHERE Id != '1'",
        "SELECT * FROM Invoice GROUP BY Id",
        "SELECT * FROM Invoice STARTPOSITION 1 MAXRESULTS 5 MAXRESULTS 6",
        "SELECT * FROM Invoice ORDER Id",
        "SELECT * FROM Customer WHERE DisplayName = 'Amy''s'",
        "SELECT * FROM Customer WHERE DisplayName = 'open",
        "SELECT * FROM Customer WHERE DisplayName = bare",
        "SELECT * FROM Invoice WHERE TxnDate > 2025-08-15",
        "SELECT FROM Invoice",
        "DELETE FROM Invoice",
    ] {
        let answer = client.query(statement);
        let (code, detail) = answer.fault();
        assert_eq!((answer.status, code.as_str()), (400, "4000"), "{statement}");
        assert!(detail.starts_with("QueryParserError: "), "{detail}");
    }
    let (_, detail) = client.query("SELECT * FROM Invoice WHERE Id %20").fault();
    let recorded = "QueryParserError: Invalid content. Lexical error at line 1, column 32.  Encountered: \"%\" (37), after : \"\"";
    assert_eq!(detail, recorded);
}

#[test]
fn unknown_entities_and_properties_are_4001_with_the_recorded_texts() {
    let client = company();
    for (statement, expected) in [
        ("SELECT * FROM Custmoer", "invalid context declaration: Custmoer"),
        ("SELECT * FROM TaxService", "Metadata not found for Entity: TaxService"),
        ("SELECT * FROM Invoice WHERE Foo = '1'", "Property Foo not found for Entity Invoice"),
        (
            "SELECT * FROM Invoice WHERE Active IN (true, false)",
            "Property Active not found for Entity Invoice",
        ),
        (
            "SELECT * FROM Invoice WHERE Line.Amount > '1'",
            "Property Line.Amount not found for Entity Invoice",
        ),
        ("SELECT * FROM Customer ORDERBY TxnDate", "Property TxnDate not found for Entity Customer"),
        (
            "SELECT COUNT(*) FROM TaxAgency WHERE Active = true",
            "Property Active not found for Entity TaxAgency",
        ),
    ] {
        let answer = client.query(statement);
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.fault(),
            ("4001".to_owned(), format!("QueryValidationError: {expected}")),
            "{statement}"
        );
        assert_eq!(answer.json()["Fault"]["type"], "ValidationFault");
    }
}

#[test]
fn id_is_filtered_by_equal_and_in_only() {
    let client = company();
    assert_eq!(client.query("SELECT * FROM Invoice WHERE Id = '17'").ids("Invoice"), ["17"]);
    let some = client.query("SELECT * FROM Invoice WHERE Id IN ('5', '7', '9999') ORDERBY Id").ids("Invoice");
    assert_eq!(some, ["5", "7"]);
    assert_eq!(client.count("Invoice WHERE Id IN ('5', '7', '5')"), 2);
    for operator in ["<", ">", "<=", ">=", "LIKE"] {
        assert_eq!(
            client.query(&format!("SELECT * FROM Invoice WHERE Id {operator} '17'")).fault().0,
            "4001"
        );
    }
}

#[test]
fn a_quote_in_a_value_is_escaped_by_a_backslash_and_equal_ignores_case() {
    let client = company();
    let row =
        client.records("Customer").find(|(_, json)| json.contains("'s ") && json.contains("\"Active\":true"));
    let (id, json) = row.unwrap();
    let name =
        serde_json::from_str::<serde_json::Value>(&json).unwrap()["DisplayName"].as_str().unwrap().to_owned();
    let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
    for value in [quoted.clone(), quoted.to_lowercase()] {
        let found = client.query(&format!("SELECT * FROM Customer WHERE DisplayName = '{value}'"));
        assert_eq!(found.ids("Customer"), [id.as_str()], "{value}");
    }
}

#[test]
fn like_knows_the_percent_sign_only() {
    let client = company();
    let rows =
        client.query("SELECT * FROM Customer WHERE Active IN (true, false) MAXRESULTS 1000").rows("Customer");
    let names: Vec<String> =
        rows.iter().map(|row| row["DisplayName"].as_str().unwrap().to_lowercase()).collect();
    let fits = |test: fn(&str) -> bool| names.iter().filter(|name| test(name)).count() as u64;
    let with = |pattern: &str| {
        client.count(&format!("Customer WHERE Active IN (true, false) AND DisplayName LIKE '{pattern}'"))
    };
    assert_eq!(with("%sha%"), fits(|name| name.contains("sha")));
    assert_eq!(with("b%"), fits(|name| name.starts_with('b')));
    assert_eq!(with("%7"), fits(|name| name.ends_with('7')));
    assert_eq!(
        with("b%r%7"),
        fits(|name| name.starts_with('b') && name.ends_with('7') && name[1..name.len() - 1].contains('r'))
    );
    assert_eq!(with("_"), 0);
    assert!(with("%sha%") > 0 && with("b%") > 0 && with("%7") > 0);
}

#[test]
fn numbers_compare_as_numbers_quoted_or_not() {
    let client = company();
    let amounts: Vec<f64> = client.records("Invoice").map(|(_, json)| number(&json, "TotalAmt")).collect();
    let over = amounts.iter().filter(|amount| **amount > 9000.0).count() as u64;
    assert!(over > 0 && over < 300);
    assert_eq!(client.count("Invoice WHERE TotalAmt > '9000.00'"), over);
    assert_eq!(client.count("Invoice WHERE TotalAmt > 9000"), over);
    assert_eq!(client.count("Invoice WHERE TotalAmt <= '9000'"), 300 - over);
}

fn number(json: &str, key: &str) -> f64 {
    serde_json::from_str::<serde_json::Value>(json).unwrap()[key].as_f64().unwrap()
}

#[test]
fn times_are_instants_whatever_their_offset_and_a_literal_without_one_is_pacific() {
    let client = company();
    let count =
        |literal: &str| client.count(&format!("Invoice WHERE MetaData.LastUpdatedTime >= '{literal}'"));
    let expected = count("2025-08-15T12:00:00+00:00");
    assert!(expected > 0 && expected < 300);
    for same in [
        "2025-08-15T12:00:00Z",
        "2025-08-15T05:00:00-07:00",
        "2025-08-15T14:00:00+02:00",
        "2025-08-15T05:00:00",
    ] {
        assert_eq!(count(same), expected, "{same}");
    }
    assert_eq!(count("2025-08-15"), count("2025-08-15T00:00:00-07:00"));
    let (code, detail) =
        client.query("SELECT * FROM Invoice WHERE MetaData.CreateTime > 'yesterday'").fault();
    assert_eq!(code, "4001", "{detail}");
}

#[test]
fn bounds_are_exact_to_the_second() {
    let client = company();
    let id = &client.ids("Invoice")[150];
    let at = chrono::DateTime::parse_from_rfc3339("2025-08-15T12:00:00Z").unwrap().to_utc();
    assert!(client.set_updated("Invoice", id, at));
    let has = |condition: &str| {
        let answer = client.query(&format!("SELECT * FROM Invoice WHERE {condition} MAXRESULTS 1000"));
        answer.ids("Invoice").contains(id)
    };
    let time = "MetaData.LastUpdatedTime";
    for (condition, expected) in [
        (format!("{time} >= '2025-08-15T12:00:00Z'"), true),
        (format!("{time} > '2025-08-15T12:00:00Z'"), false),
        (format!("{time} < '2025-08-15T12:00:00Z'"), false),
        (format!("{time} <= '2025-08-15T12:00:00Z'"), true),
        (format!("{time} = '2025-08-15T12:00:00Z'"), true),
        (format!("{time} >= '2025-08-15T12:00:00.001Z'"), false),
        (format!("{time} < '2025-08-15T12:00:00.001Z'"), true),
        (format!("{time} > '2025-08-15T11:59:59.999Z'"), true),
        (format!("{time} >= '2025-08-15T11:59:59Z' AND {time} < '2025-08-15T12:00:01Z'"), true),
        (format!("{time} >= '2025-08-15T12:00:01Z' AND {time} < '2025-08-15T12:00:02Z'"), false),
    ] {
        assert_eq!(has(&condition), expected, "{condition}");
    }
}

#[test]
fn both_times_can_be_filtered_together() {
    let client = company();
    let all: Vec<(i64, i64)> = client
        .records("Invoice")
        .map(|(_, json)| {
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            let time = |key: &str| {
                chrono::DateTime::parse_from_rfc3339(json["MetaData"][key].as_str().unwrap())
                    .unwrap()
                    .timestamp()
            };
            (time("CreateTime"), time("LastUpdatedTime"))
        })
        .collect();
    let at = chrono::DateTime::parse_from_rfc3339("2025-08-15T12:00:00Z").unwrap().timestamp();
    let expected = all.iter().filter(|(created, updated)| *created < at && *updated >= at).count() as u64;
    assert!(expected > 0);
    let statement = "Invoice WHERE MetaData.CreateTime < '2025-08-15T12:00:00Z' AND MetaData.LastUpdatedTime >= '2025-08-15T12:00:00Z'";
    assert_eq!(client.count(statement), expected);
}

#[test]
fn get_and_post_are_the_same_and_a_bare_plus_is_a_blank() {
    let client = company();
    let encoded = "SELECT%20COUNT(*)%20FROM%20Invoice%20WHERE%20MetaData.LastUpdatedTime%20%3E%3D%20%272025-08-15T12%3A00%3A00%2B00%3A00%27";
    let posted = client
        .query("SELECT COUNT(*) FROM Invoice WHERE MetaData.LastUpdatedTime >= '2025-08-15T12:00:00+00:00'");
    let got = client.get(&client.path(&format!("query?query={encoded}&minorversion=75")));
    assert_eq!(got.json()["QueryResponse"], posted.json()["QueryResponse"]);
    let bare = client.get(&client.path(&format!("query?query={}", encoded.replace("%2B", "+"))));
    assert_eq!(bare.fault().0, "4001");
    let twice = client.get(&client.path("query?query=SELECT%2520*"));
    assert_eq!(twice.fault().0, "4000");
}

#[test]
fn a_query_without_a_statement_is_a_fault_with_status_200() {
    let client = company();
    let answer = client.query(" ");
    assert_eq!((answer.status, answer.fault().0.as_str()), (200, "10000"));
    assert_eq!(answer.json()["Fault"]["type"], "SystemFault");
}

#[test]
fn a_projection_gives_sparse_stubs() {
    let client = company();
    let rows = client.query("SELECT Id FROM Invoice ORDERBY Id MAXRESULTS 2").rows("Invoice");
    assert_eq!(rows[0], serde_json::json!({"domain": "QBO", "sparse": true, "Id": "1"}));
}

#[test]
fn current_date_is_today_in_california_and_a_blank_is_null() {
    let client = company();
    assert_eq!(client.count("Invoice WHERE TxnDate <= CURRENT_DATE"), 300);
    assert_eq!(client.count("Invoice WHERE TxnDate > CURRENT_DATE"), 0);
    let id = client.query("SELECT * FROM Customer").ids("Customer")[0].clone();
    assert_eq!(client.count("Customer WHERE GivenName = ' '"), 0);
    client.patch("Customer", &id, &format!("{{\"Id\":\"{id}\"}}"));
    assert_eq!(client.query("SELECT * FROM Customer WHERE GivenName = ' '").ids("Customer"), [id]);
}

#[test]
fn a_statement_can_be_checked_without_asking() {
    assert_eq!(qbo_sim::check_statement("SELECT * FROM Invoice WHERE Id = 'a\\'b' MAXRESULTS 7"), Ok(()));
    for wrong in ["", "DELETE FROM Invoice", "SELECT * FROM Invoice WHERE Id = 'a'b'"] {
        assert!(qbo_sim::check_statement(wrong).is_err(), "{wrong}");
    }
}
