//! What people write by hand: one request after the other over one connection.

use crate::extension::Bench;
use crate::table::timed;
use postgres::Client;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Asks for all pages; hands each page's records to `keep`.
fn pages(bench: &Bench, page: usize, mut keep: impl FnMut(&[(String, String)])) {
    let sim = &bench.db.sim;
    let (realm, id, secret, token) = sim.credentials();
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", &id),
        ("client_secret", &secret),
    ];
    let answer = agent.post(format!("{}/oauth2/v1/tokens/bearer", sim.url())).send_form(form).unwrap();
    let granted: serde_json::Value = serde_json::from_reader(answer.into_body().into_reader()).unwrap();
    let access = format!("Bearer {}", granted["access_token"].as_str().unwrap());
    let mut start = 1;
    loop {
        let query = format!(
            "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2025-07-01T00:00:00Z' ORDERBY MetaData.LastUpdatedTime, Id STARTPOSITION {start} MAXRESULTS {page}"
        );
        let body = agent
            .post(format!("{}/v3/company/{realm}/query?minorversion=75", bench.replay.url))
            .header("Authorization", &access)
            .header("Accept", "application/json")
            .header("Content-Type", "application/text")
            .send(query)
            .unwrap()
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()
            .unwrap();
        let answer: HashMap<&str, &RawValue> = serde_json::from_str(&body).unwrap();
        let inner: HashMap<&str, &RawValue> = serde_json::from_str(answer["QueryResponse"].get()).unwrap();
        let Some(list) = inner.get("Invoice") else { return };
        let records: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap();
        let kept: Vec<(String, String)> = records
            .iter()
            .map(|record| {
                let fields: HashMap<&str, &RawValue> = serde_json::from_str(record.get()).unwrap();
                (fields["Id"].get().trim_matches('"').to_owned(), record.get().to_owned())
            })
            .collect();
        keep(&kept);
        if kept.len() < page {
            return;
        }
        start += page;
    }
}

/// Seconds for reading alone.
pub fn read(bench: &Bench, page: usize) -> f64 {
    let mut count = 0;
    let took = timed(|| pages(bench, page, |records| count += records.len()));
    assert_eq!(count as u64, bench.records);
    took
}

fn target(bench: &Bench) -> Client {
    let mut client = bench.db.client();
    client
        .batch_execute("DROP TABLE IF EXISTS loaded; CREATE TABLE loaded (LIKE raw.qb_invoices INCLUDING ALL); CHECKPOINT")
        .unwrap();
    client
}

fn whole(bench: &Bench) {
    assert_eq!(bench.db.number("SELECT count(*) FROM loaded") as u64, bench.records);
}

const INTO: &str =
    "INSERT INTO loaded (id, payload, ingested_at_utc, extract_window_start_utc, extract_window_end_utc,
    page_number, page_size, request_payload)";
const ROW: &str = "now(), '2025-07-01Z', '2025-10-01Z', 1, 1, '{}'";
const CONFLICT: &str =
    "ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, ingested_at_utc = excluded.ingested_at_utc";

/// Seconds for a good one: a batch and a transaction a page.
pub fn good(bench: &Bench, page: usize) -> f64 {
    let mut client = target(bench);
    let text = format!(
        "{INTO} SELECT i, p::jsonb, {ROW} FROM unnest($1::text[], $2::text[]) AS u (i, p) {CONFLICT}"
    );
    let took = timed(|| {
        let insert = client.prepare(&text).unwrap();
        pages(bench, page, |records| {
            let (ids, payloads): (Vec<&str>, Vec<&str>) =
                records.iter().map(|(id, payload)| (id.as_str(), payload.as_str())).unzip();
            client.execute(&insert, &[&ids, &payloads]).unwrap();
        });
    });
    whole(bench);
    took
}

/// Seconds for the usual one: a statement a row, a transaction a page.
pub fn plain(bench: &Bench, page: usize) -> f64 {
    let mut client = target(bench);
    let text = format!("{INTO} VALUES ($1, $2::text::jsonb, {ROW}) {CONFLICT}");
    let took = timed(|| {
        let insert = client.prepare(&text).unwrap();
        pages(bench, page, |records| {
            let mut transaction = client.transaction().unwrap();
            for (id, payload) in records {
                transaction.execute(&insert, &[id, payload]).unwrap();
            }
            transaction.commit().unwrap();
        });
    });
    whole(bench);
    took
}
