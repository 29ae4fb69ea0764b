//! The company: made from a seed, changed while it is read, remembered as it was.

use crate::client::{Client, counts};
use qbo_sim::{Action, Options, Sim};
use serde_json::Value;
use std::collections::HashMap;

fn sim(seed: u64, invoices: u64) -> Sim {
    Sim::start(Options { seed, ..counts(&[("Invoice", invoices), ("Customer", invoices / 2)]) }).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_company_whatever_its_size() {
    let (small, large, other) = (sim(7, 100), sim(7, 1_000), sim(8, 100));
    for entity in ["Invoice", "Customer"] {
        let all: HashMap<String, String> = large.records(entity).collect();
        let mut differ = 0;
        for (id, json) in small.records(entity) {
            assert_eq!(all[&id], json);
            differ += usize::from(other.record(entity, &id) != Some(json));
        }
        assert_eq!(differ, small.count(entity), "another seed gives others");
    }
}

#[test]
fn some_records_share_a_second() {
    let sim = sim(42, 3_200);
    let time = |json: &str| json.split("LastUpdatedTime\":\"").nth(1).unwrap()[..25].to_owned();
    let mut seconds: HashMap<String, usize> = HashMap::new();
    for (_, json) in sim.records("Invoice") {
        *seconds.entry(time(&json)).or_default() += 1;
    }
    assert!(seconds.values().filter(|records| **records == 2).count() > 100);
    assert!(seconds.values().any(|records| *records >= 150), "more than a page of 100, as after an import");
}

#[test]
fn an_update_moves_the_time_the_synctoken_and_a_field() {
    let sim = sim(42, 100);
    let before: HashMap<String, String> = sim.records("Invoice").collect();
    let changed = sim.change("Invoice", 0.1);
    assert_eq!(changed.len(), 10);
    for (id, json) in sim.records("Invoice") {
        let (old, new): (Value, Value) =
            (serde_json::from_str(&before[&id]).unwrap(), serde_json::from_str(&json).unwrap());
        if !changed.contains(&id) {
            assert_eq!(old, new);
            continue;
        }
        let token = |value: &Value| value["SyncToken"].as_str().unwrap().parse::<u32>().unwrap();
        assert_eq!(token(&new), token(&old) + 1);
        assert_eq!(old["MetaData"]["CreateTime"], new["MetaData"]["CreateTime"]);
        let at = chrono::DateTime::parse_from_rfc3339(new["MetaData"]["LastUpdatedTime"].as_str().unwrap())
            .unwrap();
        assert!((chrono::Utc::now() - at.to_utc()).num_seconds() < 5);
        assert_ne!(old["PrivateNote"], new["PrivateNote"]);
        assert_eq!(old["Line"], new["Line"]);
    }
    assert_eq!(sim.touched("Invoice").len(), 10);
}

#[test]
fn a_change_shows_in_the_request_it_was_set_before_and_not_in_an_earlier_one() {
    let client = Client::company(&[("Invoice", 20)]);
    let token =
        |answer: crate::client::Answer| answer.rows("Invoice")[0]["SyncToken"].as_str().unwrap().to_owned();
    let ask = || token(client.query("SELECT * FROM Invoice WHERE Id = '5'"));
    let first = ask();
    client.act_before(3, Action::Update("Invoice".to_owned(), "5".to_owned()));
    assert_eq!(ask(), first);
    assert_ne!(ask(), first);
    let versions = client.versions("Invoice", "5");
    assert_eq!(versions.iter().map(|version| version.from_request).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(versions[1].json, client.record("Invoice", "5"));
    assert!(client.update("Invoice", "5"));
    assert_eq!(
        client.versions("Invoice", "5")[2].from_request,
        4,
        "the next request is the first that can see it"
    );
}

#[test]
fn a_request_shows_what_was_current_at_its_number_although_it_is_answered_later() {
    let client =
        Client::new(Options { latency: std::time::Duration::from_millis(150), ..counts(&[("Invoice", 5)]) });
    let before = client.record("Invoice", "2");
    let row = std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.query("SELECT * FROM Invoice WHERE Id = '2'").body);
        while client.request_count() == 0 {
            std::thread::yield_now();
        }
        client.update("Invoice", "2");
        asked.join().unwrap()
    });
    assert!(row.contains(&before.unwrap()));
    assert_eq!(client.versions("Invoice", "2")[1].from_request, 2);
}

#[test]
fn deleted_transactions_are_gone_and_inactive_list_records_are_not() {
    let client = Client::company(&[("Invoice", 20), ("Customer", 20)]);
    assert!(client.delete("Invoice", "4"));
    assert!(!client.delete("Invoice", "4"));
    assert_eq!(client.count("Invoice"), 19);
    assert_eq!(client.get(&client.path("invoice/4")).fault().0, "610");
    assert_eq!(client.versions("Invoice", "4").last().unwrap().json, None);
    let id = client.query("SELECT * FROM Customer").ids("Customer")[0].clone();
    assert!(client.deactivate("Customer", &id));
    assert!(!client.query("SELECT * FROM Customer").ids("Customer").contains(&id));
    let all = client.query("SELECT * FROM Customer WHERE Active IN (true, false)").ids("Customer");
    assert!(all.contains(&id));
    assert!(client.record("Customer", &id).unwrap().contains(" (deleted)\""));
    assert!(!client.deactivate("Invoice", "5"), "transactions know no Active");
}

#[test]
fn a_new_record_has_the_next_id_and_a_patched_one_its_exact_text() {
    let client = Client::company(&[("Invoice", 20)]);
    assert_eq!(client.insert("Invoice").unwrap(), "21");
    assert_eq!(client.versions("Invoice", "21")[0].json, None, "it did not exist before");
    assert_eq!(client.query("SELECT * FROM Invoice MAXRESULTS 1").ids("Invoice"), ["21"]);
    let odd = "{\"Id\":\"3\",\"Note\":\"\\u0000 \\ud83d\",\"Big\":1e400,\"Id\":\"3\"}";
    assert!(client.patch("Invoice", "3", odd));
    assert!(client.query("SELECT * FROM Invoice WHERE Id = '3'").body.contains(odd));
    assert!(!client.patch("Invoice", "99", odd));
}

#[test]
fn a_record_that_leaves_its_window_moves_the_others_up() {
    let client = Client::company(&[("Invoice", 30)]);
    let page = |start: usize| {
        client
            .query(&format!(
                "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime \
                < '2026-01-01T00:00:00Z' ORDERBY MetaData.LastUpdatedTime ASC, Id \
                ASC STARTPOSITION {start} MAXRESULTS 10"
            ))
            .ids("Invoice")
    };
    let all = client.ids("Invoice");
    assert_eq!(page(1), all[..10]);
    client.update("Invoice", &all[2]);
    assert_eq!(page(11), all[11..21], "the eleventh is never seen");
}

#[test]
fn records_begin_with_synctoken_0() {
    let sim = sim(42, 50);
    assert!(sim.records("Invoice").all(|(_, json)| json.contains("\"SyncToken\":\"0\"")));
}
