//! The spool: a window's records between fetching and storing. In memory while they are few, in a temporary file without a
//! name when they are many, so that a window of any size takes little memory and leaves nothing behind.

use crate::domain::fetch::Kept;
use crate::domain::page::{Record, Row};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::PathBuf;
use tempfile::{SpooledTempFile, spooled_tempfile_in};

/// Kept in memory, at most, for each window, in bytes.
const IN_MEMORY: usize = 2 << 20;

/// One page as it is stored.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SpooledPage {
    pub number: u32,
    /// The request that brought it, as JSON.
    pub request: String,
    pub records: Vec<SpooledRecord>,
    pub rejects: Vec<SpooledReject>,
}

/// A record: an Id and the bytes of QuickBooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledRecord {
    pub id: String,
    pub raw: String,
    /// Whether an earlier page of the window had the same Id.
    pub again: bool,
}

/// A row that cannot be stored as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledReject {
    /// None from the spool: a row with a usable Id is a record. PostgreSQL may refuse a record later on.
    pub id: Option<String>,
    pub raw: Option<String>,
    pub reason: String,
}

/// The spool of one window.
pub struct Spool {
    dir: PathBuf,
    file: BufWriter<SpooledTempFile>,
    pages: u32,
    /// Hashes of the Ids seen, eight bytes each: a collision among a million is a matter of one in forty million, and
    /// would only miscount a row.
    seen: HashSet<u64>,
    hasher: RandomState,
}

#[derive(Serialize)]
struct Request<'a> {
    query: &'a str,
    minorversion: &'a str,
}

impl Spool {
    /// An empty spool whose file, if it needs one, lies in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        let file = BufWriter::new(spooled_tempfile_in(IN_MEMORY, &dir));
        Spool { dir, file, pages: 0, seen: HashSet::new(), hasher: RandomState::new() }
    }

    /// Forgets everything: the window is read again.
    pub fn restart(&mut self) {
        *self = Spool::new(std::mem::take(&mut self.dir));
    }

    /// Adds a page. Where an Id stands twice in it the newest version counts, else the later one.
    pub fn push(&mut self, kept: &Kept, statement: &str) -> Result<()> {
        let mut records: Vec<(&Record, &Row)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut rejects = Vec::new();
        for row in kept.page.rows().iter().skip(kept.skip) {
            match row {
                Row::Unusable(unusable) => rejects.push((Some(kept.page.raw(row)), unusable.reason.as_str())),
                Row::Record(record) => {
                    match places.get(record.id.as_str()).and_then(|place| records.get_mut(*place)) {
                        Some((there, _)) if there.updated > record.updated => {}
                        Some(there) => *there = (record, row),
                        None => {
                            places.insert(&record.id, records.len());
                            records.push((record, row));
                        }
                    }
                }
            }
        }
        self.begin(kept.number, statement)?;
        put_number(&mut self.file, count(records.len())?)?;
        for (record, row) in records {
            let again = !self.seen.insert(self.hasher.hash_one(&record.id));
            put(&mut self.file, &record.id)?;
            put(&mut self.file, kept.page.raw(row))?;
            self.file.write_all(&[u8::from(again)])?;
        }
        self.rejects(&rejects)
    }

    /// Adds a row that QuickBooks cannot deliver.
    pub fn push_poison(&mut self, number: u32, statement: &str, reason: &str) -> Result<()> {
        self.begin(number, statement)?;
        put_number(&mut self.file, 0)?;
        self.rejects(&[(None, reason)])
    }

    /// Reads the pages from the beginning, as often as needed.
    pub fn pages(&mut self) -> Result<Pages<'_>> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))?;
        Ok(Pages { file: BufReader::with_capacity(1 << 16, file), left: self.pages })
    }

    fn begin(&mut self, number: u32, statement: &str) -> Result<()> {
        self.pages += 1;
        put_number(&mut self.file, number)?;
        put(&mut self.file, &request(statement)?)
    }

    fn rejects(&mut self, rejects: &[(Option<&str>, &str)]) -> Result<()> {
        put_number(&mut self.file, count(rejects.len())?)?;
        for (raw, reason) in rejects {
            self.file.write_all(&[u8::from(raw.is_some())])?;
            put(&mut self.file, raw.unwrap_or_default())?;
            put(&mut self.file, reason)?;
        }
        Ok(())
    }
}

/// The pages of a spool, in their order.
pub struct Pages<'a> {
    file: BufReader<&'a mut SpooledTempFile>,
    left: u32,
}

impl Iterator for Pages<'_> {
    type Item = Result<SpooledPage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.read())
    }
}

impl Pages<'_> {
    fn read(&mut self) -> Result<SpooledPage> {
        let file = &mut self.file;
        let mut page =
            SpooledPage { number: get_number(file)?, request: get(file)?, ..SpooledPage::default() };
        for _ in 0..get_number(file)? {
            let (id, raw) = (get(file)?, get(file)?);
            let mut again = [0];
            file.read_exact(&mut again)?;
            page.records.push(SpooledRecord { id, raw, again: again != [0] });
        }
        for _ in 0..get_number(file)? {
            page.rejects.push(SpooledReject { id: None, raw: get_option(file)?, reason: get(file)? });
        }
        Ok(page)
    }
}

fn request(statement: &str) -> Result<String> {
    Ok(serde_json::to_string(&Request { query: statement, minorversion: super::api::MINOR_VERSION })?)
}

fn count(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Error::new(ErrorKind::InvalidInput, "too long for the spool"))
}

fn put_number(file: &mut impl Write, number: u32) -> Result<()> {
    file.write_all(&number.to_le_bytes())
}

fn put(file: &mut impl Write, text: &str) -> Result<()> {
    put_number(file, count(text.len())?)?;
    file.write_all(text.as_bytes())
}

fn get_number(file: &mut impl Read) -> Result<u32> {
    let mut number = [0; 4];
    file.read_exact(&mut number)?;
    Ok(u32::from_le_bytes(number))
}

fn get(file: &mut impl Read) -> Result<String> {
    let mut text = vec![0; get_number(file)? as usize];
    file.read_exact(&mut text)?;
    String::from_utf8(text).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn get_option(file: &mut impl Read) -> Result<Option<String>> {
    let mut there = [0];
    file.read_exact(&mut there)?;
    let text = get(file)?;
    Ok((there != [0]).then_some(text))
}
