//! What must hold of the spool: what is pushed comes back the same, however much it is.

use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fetch::Kept;
use qbo_raw::domain::page::{self, Page, Row};
use qbo_raw::domain::query::Slice;
use qbo_raw::http::spool::{Batch, Spool, SpooledReject};
use std::collections::HashSet;

/// Long enough that a few of it do not stay in memory.
const LONG: usize = 600_000;

/// An input is pieces between NULs. What a piece begins with says what is done with it: `!` for a row that cannot be had, `~` to
/// forget everything, a digit for a page without so many of its first rows; else it is a page. Long records are slow: an input
/// that begins with `LONG` has them, one for each `*`.
pub fn spool(input: &[u8]) {
    let mut spool = Spool::new(std::env::temp_dir());
    let (mut wanted, mut seen, mut long) = (Vec::new(), HashSet::new(), 0);
    for (number, piece) in (1..).zip(input.split(|byte| *byte == 0).take(40)) {
        let text = String::from_utf8_lossy(piece);
        match piece.first() {
            Some(b'!') => {
                spool.push_poison(number, &text, &text[1..]).expect("there is room");
                let reject = SpooledReject { id: None, raw: None, reason: text[1..].to_owned() };
                wanted.push(Wanted {
                    number,
                    statement: text.into_owned(),
                    records: Vec::new(),
                    rejects: vec![reject],
                });
            }
            Some(b'~') => {
                spool.restart();
                (wanted, seen) = (Vec::new(), HashSet::new());
            }
            first => {
                let skip =
                    first.filter(|byte| byte.is_ascii_digit()).map_or(0, |digit| usize::from(digit - b'0'));
                let mut rows = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '*').to_owned();
                if first == Some(&b'*') && input.starts_with(b"LONG") && long < 4 {
                    long += 1;
                    rows = format!(r#"{{"Id":"long {long}","x":"{}"}}"#, "é".repeat(LONG / 2));
                }
                let Some(page) = page_of(&rows) else { continue };
                let kept = Kept { page, skip, number, slice: Slice { start_position: 1, max_results: 100 } };
                spool.push(&kept, &rows).expect("there is room");
                wanted.push(Wanted::of(&kept, &rows, &mut seen));
            }
        }
    }
    let mut spooled = spool.finish().expect("there is room");
    for _ in 0..2 {
        let batches: Vec<Batch> =
            spooled.batches().expect("it can be read").map(|batch| batch.expect("a batch")).collect();
        for wanted in &wanted {
            let of_page = batches.iter().filter(|batch| batch.page == wanted.number);
            let records = of_page.clone().flat_map(|batch| {
                let rows = batch.ids.iter().zip(batch.raws.iter());
                rows.map(|(id, raw)| (batch.again, id.to_owned(), raw.to_owned()))
            });
            assert_eq!(records.collect::<Vec<_>>(), wanted.records);
            let rejects = of_page.clone().flat_map(|batch| batch.rejects.clone());
            assert_eq!(rejects.collect::<Vec<_>>(), wanted.rejects);
            for batch in of_page {
                let request: serde_json::Value = serde_json::from_str(&batch.request).expect("JSON");
                assert_eq!(request["query"], wanted.statement.as_str());
            }
        }
        assert!(batches.iter().all(|batch| wanted.iter().any(|wanted| wanted.number == batch.page)));
    }
}

fn page_of(rows: &str) -> Option<Page> {
    let body = format!(r#"{{"QueryResponse":{{"Invoice":[{rows}]}}}}"#);
    page::read(Entity::find("invoices").ok()?, body.into_bytes()).ok()
}

/// A page as it should come back.
struct Wanted {
    number: u32,
    statement: String,
    /// Whether an earlier page had it, its Id, its bytes; sorted.
    records: Vec<(bool, String, String)>,
    rejects: Vec<SpooledReject>,
}

impl Wanted {
    /// Of an Id that stands in a page twice the newest version counts, else the later one; what an earlier page had is marked.
    fn of(kept: &Kept, statement: &str, seen: &mut HashSet<String>) -> Wanted {
        let (mut records, mut updated, mut rejects) = (Vec::<(bool, String, String)>::new(), Vec::new(), Vec::new());
        for row in kept.page.rows().iter().skip(kept.skip) {
            let raw = kept.page.raw(row).to_owned();
            match row {
                Row::Unusable(row) => {
                    rejects.push(SpooledReject { id: None, raw: Some(raw), reason: row.reason.clone() })
                }
                Row::Record(record) => match records.iter().position(|(_, id, _)| *id == record.id) {
                    Some(place) if updated[place] > record.updated => {}
                    Some(place) => (records[place].2, updated[place]) = (raw, record.updated),
                    None => {
                        records.push((seen.contains(&record.id), record.id.clone(), raw));
                        updated.push(record.updated);
                    }
                },
            }
        }
        seen.extend(records.iter().map(|(_, id, _)| id.clone()));
        records.sort();
        Wanted { number: kept.number, statement: statement.to_owned(), records, rejects }
    }
}
