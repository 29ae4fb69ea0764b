//! The spool: what is pushed comes back, in little memory, and leaves nothing behind.

use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fetch::Kept;
use qbo_raw::domain::page;
use qbo_raw::domain::query::Slice;
use qbo_raw::http::spool::{Batch, Spool, Spooled};
use qbo_raw::http::texts::{HEAD, Texts};
use std::io::ErrorKind;
use std::path::Path;

const STATEMENT: &str = "SELECT * FROM Invoice WHERE DocNumber = 'a\"\\'b'";

fn kept(number: u32, skip: usize, rows: &[String]) -> Kept {
    let body = format!(r#"{{"QueryResponse":{{"Invoice":[{}]}}}}"#, rows.join(","));
    let page = page::read(Entity::find("invoices").unwrap(), body.into_bytes()).unwrap();
    Kept { page, skip, number, slice: Slice { start_position: 1, max_results: 100 } }
}

fn row(id: &str, updated: &str, rest: &str) -> String {
    format!(r#"{{"Id":"{id}","MetaData":{{"LastUpdatedTime":"{updated}"}},"rest":"{rest}"}}"#)
}

fn batches(spooled: &mut Spooled) -> Vec<Batch> {
    spooled.batches().unwrap().collect::<Result<_, _>>().unwrap()
}

/// Ids and bytes of a batch.
fn records(batch: &Batch) -> Vec<(&str, &str)> {
    batch.ids.iter().zip(batch.raws.iter()).collect()
}

fn spool() -> Spool {
    Spool::new(std::env::temp_dir())
}

#[test]
fn what_is_pushed_comes_back_byte_for_byte_as_often_as_it_is_read() {
    let rows = [
        r#"{"Id":"1","n":1.10,"u":"\u0000 \ud83d é 😀","Id2":12345678901234567890123}"#,
        r#"{ "Id" : 2 }"#,
        r#"{"NoId":true}"#,
    ];
    let rows = rows.map(str::to_owned);
    let mut spool = spool();
    spool.push(&kept(1, 0, &rows), STATEMENT).unwrap();
    spool.push_poison(2, STATEMENT, "nobody can read it").unwrap();
    spool.push(&kept(3, 1, &rows[1..]), STATEMENT).unwrap();
    let mut spooled = spool.finish().unwrap();
    for _ in 0..3 {
        let batches = batches(&mut spooled);
        assert_eq!(batches.iter().map(|batch| batch.page).collect::<Vec<_>>(), [1, 1, 2, 3]);
        assert_eq!(records(&batches[0]), [("1", rows[0].as_str()), ("2", rows[1].as_str())]);
        assert!(batches[0].rejects.is_empty());
        assert_eq!(batches[1].rejects[0].raw.as_deref(), Some(rows[2].as_str()));
        assert!(!batches[1].rejects[0].reason.is_empty());
        assert!(batches[2].ids.is_empty() && batches[2].raws.is_empty());
        assert_eq!(
            (batches[2].rejects[0].raw.as_deref(), batches[2].rejects[0].reason.as_str()),
            (None, "nobody can read it")
        );
        // The seam was left out.
        assert_eq!((batches[3].ids.len(), batches[3].rejects.len()), (0, 1));
        assert_eq!(
            batches[0].request,
            r#"{"query":"SELECT * FROM Invoice WHERE DocNumber = 'a\"\\'b'","minorversion":"75"}"#
        );
    }
}

#[test]
fn of_two_versions_in_a_page_the_newer_one_counts_or_the_later() {
    let early = "2025-07-01T00:00:00-07:00";
    let late = "2025-07-01T00:00:00-08:00";
    for (first, second, wanted) in [
        (early, late, "b"),
        (late, early, "a"),
        (early, early, "b"),
        ("?", early, "b"),
        (early, "?", "a"),
        ("?", "?", "b"),
    ] {
        let mut spool = spool();
        let rows = [row("1", first, "a"), row("2", early, "c"), row("1", second, "b")];
        spool.push(&kept(1, 0, &rows), STATEMENT).unwrap();
        let batch = batches(&mut spool.finish().unwrap()).remove(0);
        let records = records(&batch);
        assert_eq!(records.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["1", "2"]);
        assert!(
            records[0].1.contains(&format!(r#""rest":"{wanted}""#)),
            "{first} {second}: {}",
            records[0].1
        );
        assert!(!batch.again);
    }
}

#[test]
fn an_id_of_an_earlier_page_is_marked_until_everything_is_forgotten() {
    let at = "2025-07-01T00:00:00Z";
    let fill = |spool: &mut Spool| {
        spool.push(&kept(1, 0, &[row("1", at, "a"), row("2", at, "b")]), STATEMENT).unwrap();
        spool.push(&kept(2, 0, &[row("3", at, "c"), row("1", at, "d")]), STATEMENT).unwrap();
    };
    let mut first = spool();
    fill(&mut first);
    let again: Vec<_> = batches(&mut first.finish().unwrap())
        .iter()
        .map(|batch| (batch.again, batch.ids.iter().map(str::to_owned).collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        again,
        [
            (false, vec!["1".to_owned(), "2".to_owned()]),
            (false, vec!["3".to_owned()]),
            (true, vec!["1".to_owned()])
        ]
    );

    let mut second = spool();
    fill(&mut second);
    second.restart();
    second.push(&kept(1, 0, &[row("1", at, "e")]), STATEMENT).unwrap();
    let batches = batches(&mut second.finish().unwrap());
    assert_eq!((batches.len(), batches[0].ids.len(), batches[0].again), (1, 1, false));
    assert!(self::batches(&mut spool().finish().unwrap()).is_empty());
}

#[test]
fn records_of_a_page_come_in_the_order_of_their_ids() {
    let rows: Vec<_> =
        ["9", "10", "b", "1", "B"].iter().map(|id| row(id, "2025-07-01T00:00:00Z", id)).collect();
    let mut spool = spool();
    spool.push(&kept(1, 0, &rows), STATEMENT).unwrap();
    let batches = batches(&mut spool.finish().unwrap());
    let records = records(&batches[0]);
    assert_eq!(records.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["1", "10", "9", "B", "b"]);
    assert!(records.iter().all(|(id, raw)| raw.contains(&format!(r#""rest":"{id}""#))), "{records:?}");
}

#[test]
fn a_page_larger_than_a_statement_should_be_comes_in_pieces() {
    let text = "x".repeat(3_000_000);
    let rows: Vec<_> = (1..=7).map(|n| row(&n.to_string(), "2025-07-01T00:00:00Z", &text)).collect();
    let giant = row("8", "2025-07-01T00:00:00Z", &"y".repeat(9_000_000));
    let mut spool = spool();
    spool.push(&kept(1, 0, &rows.into_iter().chain([giant]).collect::<Vec<_>>()), STATEMENT).unwrap();
    let batches = batches(&mut spool.finish().unwrap());
    let sizes: Vec<_> = batches.iter().map(|batch| (batch.page, batch.ids.len(), batch.raws.len())).collect();
    assert_eq!(sizes, [(1, 2, 2), (1, 2, 2), (1, 2, 2), (1, 1, 1), (1, 1, 1)]);
}

#[test]
fn texts_of_any_length_keep_their_places() {
    let texts: Vec<String> = (0..20).map(|length| "é".repeat(length / 2) + &"z".repeat(length % 2)).collect();
    let mut written = Vec::new();
    Texts::write(texts.iter().map(String::as_str), &mut written).unwrap();
    let mut read = Texts::read(&mut written.as_slice()).unwrap();
    assert_eq!(read.iter().collect::<Vec<_>>(), texts);
    let odd = read.only(|place| place % 2 == 1).unwrap();
    assert_eq!(odd.iter().collect::<Vec<_>>(), texts.iter().skip(1).step_by(2).collect::<Vec<_>>());
    let memory = read.memory();
    assert!(memory.as_ptr().addr().is_multiple_of(4) && memory.len().is_multiple_of(4));
    assert_eq!(memory[..HEAD], [0; HEAD]);
    written.pop();
    assert_eq!(Texts::read(&mut written.as_slice()).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// Sizes of the files that this process has open in a directory.
fn open_files(dir: &Path) -> Vec<u64> {
    let inside = |entry: std::io::Result<std::fs::DirEntry>| {
        let fd = entry.ok()?.path();
        let target = std::fs::read_link(&fd).ok()?;
        target.starts_with(dir).then(|| std::fs::metadata(&fd).ok().map(|meta| meta.len()))?
    };
    std::fs::read_dir("/proc/self/fd").unwrap().filter_map(inside).collect()
}

#[test]
fn a_large_window_goes_to_a_file_without_a_name_and_a_small_one_to_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path().to_owned());
    let text = "x".repeat(10_000);
    let push = |spool: &mut Spool, number: u32| {
        let rows: Vec<_> =
            (0..100).map(|n| row(&format!("{number}-{n}"), "2025-07-01T00:00:00Z", &text)).collect();
        spool.push(&kept(number, 0, &rows), STATEMENT).unwrap();
    };
    push(&mut spool, 1);
    assert_eq!(open_files(dir.path()), [0u64; 0], "1 MB belongs into memory");
    for number in 2..=30 {
        push(&mut spool, number);
    }
    let sizes = open_files(dir.path());
    assert_eq!(sizes.len(), 1);
    assert!(sizes[0] > 30 * 1_000_000, "{sizes:?}: the rest is in memory");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has a name");
    let mut spooled = spool.finish().unwrap();
    let batches = batches(&mut spooled);
    assert_eq!(batches.len(), 30);
    assert!(batches.iter().zip(1..).all(|(batch, number)| batch.page == number && batch.ids.len() == 100));
    drop(spooled);
    assert_eq!(open_files(dir.path()), [0u64; 0]);
}

#[test]
fn a_window_that_is_read_again_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path().to_owned());
    let rows: Vec<_> =
        (0..100).map(|n| row(&n.to_string(), "2025-07-01T00:00:00Z", &"x".repeat(100_000))).collect();
    spool.push(&kept(1, 0, &rows), STATEMENT).unwrap();
    assert_eq!(open_files(dir.path()).len(), 1);
    spool.restart();
    assert_eq!(open_files(dir.path()), [0u64; 0]);
}

#[test]
fn no_room_for_the_file_is_an_error_and_no_panic() {
    let mut spool = Spool::new("/nowhere/at/all".into());
    let rows: Vec<_> =
        (0..100).map(|n| row(&n.to_string(), "2025-07-01T00:00:00Z", &"x".repeat(100_000))).collect();
    let error =
        spool.push(&kept(1, 0, &rows), STATEMENT).and_then(|()| spool.finish().map(drop)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
