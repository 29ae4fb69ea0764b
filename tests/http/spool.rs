//! The spool: what is pushed comes back, in little memory, and leaves nothing behind.

use qbo_raw::domain::entity::Entity;
use qbo_raw::domain::fetch::Kept;
use qbo_raw::domain::page;
use qbo_raw::domain::query::Slice;
use qbo_raw::http::spool::{Spool, SpooledPage};
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

fn pages(spool: &mut Spool) -> Vec<SpooledPage> {
    spool.pages().unwrap().collect::<Result<_, _>>().unwrap()
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
    for _ in 0..3 {
        let pages = pages(&mut spool);
        assert_eq!(pages.iter().map(|page| page.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(
            pages[0].records.iter().map(|record| record.raw.as_str()).collect::<Vec<_>>(),
            [&rows[0], &rows[1]]
        );
        assert_eq!(pages[0].records.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(pages[0].rejects[0].raw.as_deref(), Some(rows[2].as_str()));
        assert!(!pages[0].rejects[0].reason.is_empty());
        assert!(pages[1].records.is_empty());
        assert_eq!(
            (pages[1].rejects[0].raw.as_deref(), pages[1].rejects[0].reason.as_str()),
            (None, "nobody can read it")
        );
        // The seam was left out.
        assert_eq!((pages[2].records.len(), pages[2].rejects.len()), (0, 1));
        assert_eq!(
            pages[0].request,
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
        let page = pages(&mut spool).remove(0);
        assert_eq!(page.records.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert!(
            page.records[0].raw.contains(&format!(r#""rest":"{wanted}""#)),
            "{first} {second}: {}",
            page.records[0].raw
        );
        assert!(!page.records[0].again);
    }
}

#[test]
fn an_id_of_an_earlier_page_is_marked_until_everything_is_forgotten() {
    let at = "2025-07-01T00:00:00Z";
    let mut spool = spool();
    spool.push(&kept(1, 0, &[row("1", at, "a"), row("2", at, "b")]), STATEMENT).unwrap();
    spool.push(&kept(2, 0, &[row("3", at, "c"), row("1", at, "d")]), STATEMENT).unwrap();
    let again: Vec<_> =
        pages(&mut spool).iter().flat_map(|page| page.records.iter().map(|record| record.again)).collect();
    assert_eq!(again, [false, false, false, true]);

    spool.restart();
    assert!(pages(&mut spool).is_empty());
    spool.push(&kept(1, 0, &[row("1", at, "e")]), STATEMENT).unwrap();
    let pages = pages(&mut spool);
    assert_eq!((pages.len(), pages[0].records.len(), pages[0].records[0].again), (1, 1, false));
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
    let pages = pages(&mut spool);
    assert_eq!(pages.len(), 30);
    assert!(pages.iter().zip(1..).all(|(page, number)| page.number == number && page.records.len() == 100));
    spool.restart();
    assert_eq!(open_files(dir.path()), [0u64; 0], "a window that is read again keeps nothing");
}

#[test]
fn no_room_for_the_file_is_an_error_and_no_panic() {
    let mut spool = Spool::new("/nowhere/at/all".into());
    let rows: Vec<_> =
        (0..100).map(|n| row(&n.to_string(), "2025-07-01T00:00:00Z", &"x".repeat(100_000))).collect();
    let error = spool.push(&kept(1, 0, &rows), STATEMENT).and_then(|()| spool.pages().map(drop)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
