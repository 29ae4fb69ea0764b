//! The spool: a window's records between fetching and storing. In memory while they are few, in a temporary file without a
//! name when they are many, so that a window of any size takes little memory and leaves nothing behind.

use super::texts::{Texts, get_number, put_number};
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

/// Text of one batch, at most, in bytes, unless one record is longer.
const BATCH: usize = 8 << 20;

/// Records of a page that are stored by one statement; or what else came with it.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// Number of the page.
    pub page: u32,
    /// The request that brought it, as JSON.
    pub request: String,
    /// Whether an earlier page of the window had the same Ids.
    pub again: bool,
    /// Ids, in the order of their bytes: whoever stores takes its locks in one order.
    pub ids: Texts,
    /// The bytes of QuickBooks for each.
    pub raws: Texts,
    pub rejects: Vec<SpooledReject>,
}

/// A row that cannot be stored as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledReject {
    /// None from the spool: a row with a usable Id is a record. PostgreSQL may refuse a record later on.
    pub id: Option<String>,
    pub raw: Option<String>,
    pub reason: String,
}

/// The spool of a window that is being fetched.
pub struct Spool {
    dir: PathBuf,
    file: BufWriter<SpooledTempFile>,
    batches: u32,
    /// Hashes of the Ids seen, eight bytes each: a collision among a million is a matter of one in forty million, and
    /// would only miscount a row.
    seen: HashSet<u64>,
    hasher: RandomState,
}

/// The spool of a window that is whole.
pub struct Spooled {
    file: SpooledTempFile,
    batches: u32,
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
        Spool { dir, file, batches: 0, seen: HashSet::new(), hasher: RandomState::new() }
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
        let mut records: Vec<(&str, &str)> =
            records.into_iter().map(|(record, row)| (record.id.as_str(), kept.page.raw(row))).collect();
        records.sort_unstable();
        let (first, again): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|(id, _)| self.seen.insert(self.hasher.hash_one(id)));
        let head = (kept.number, request(statement)?);
        for (again, records) in [(false, first), (true, again)] {
            for piece in pieces(&records) {
                self.batch(&head, again, piece, &[])?;
            }
        }
        if rejects.is_empty() { Ok(()) } else { self.batch(&head, false, &[], &rejects) }
    }

    /// Adds a row that QuickBooks cannot deliver.
    pub fn push_poison(&mut self, number: u32, statement: &str, reason: &str) -> Result<()> {
        self.batch(&(number, request(statement)?), false, &[], &[(None, reason)])
    }

    /// The window is whole.
    pub fn finish(self) -> Result<Spooled> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        Ok(Spooled { file, batches: self.batches })
    }

    fn batch(
        &mut self,
        (page, request): &(u32, String),
        again: bool,
        records: &[(&str, &str)],
        rejects: &[(Option<&str>, &str)],
    ) -> Result<()> {
        self.batches += 1;
        let file = &mut self.file;
        put_number(file, *page as usize)?;
        put(file, request)?;
        file.write_all(&[u8::from(again)])?;
        Texts::write(records.iter().map(|(id, _)| *id), file)?;
        Texts::write(records.iter().map(|(_, raw)| *raw), file)?;
        put_number(file, rejects.len())?;
        for (raw, reason) in rejects {
            file.write_all(&[u8::from(raw.is_some())])?;
            put(file, raw.unwrap_or_default())?;
            put(file, reason)?;
        }
        Ok(())
    }
}

impl Spooled {
    /// Reads the batches from the beginning, as often as needed.
    pub fn batches(&mut self) -> Result<Batches<'_>> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Batches { file: BufReader::new(&mut self.file), left: self.batches })
    }
}

/// The batches of a spool, in their order.
pub struct Batches<'a> {
    file: BufReader<&'a mut SpooledTempFile>,
    left: u32,
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.read())
    }
}

impl Batches<'_> {
    fn read(&mut self) -> Result<Batch> {
        let file = &mut self.file;
        let mut batch = Batch {
            page: get_number(file)?,
            request: get(file)?,
            again: get_flag(file)?,
            ids: Texts::read(file)?,
            raws: Texts::read(file)?,
            rejects: Vec::new(),
        };
        for _ in 0..get_number(file)? {
            let (there, raw, reason) = (get_flag(file)?, get(file)?, get(file)?);
            batch.rejects.push(SpooledReject { id: None, raw: there.then_some(raw), reason });
        }
        Ok(batch)
    }
}

/// Cuts records into pieces of at most `BATCH` bytes; a larger record is a piece of its own.
fn pieces<'a, 'b>(records: &'a [(&'b str, &'b str)]) -> impl Iterator<Item = &'a [(&'b str, &'b str)]> {
    let mut bytes = 0;
    records.chunk_by(move |(_, raw), (_, next)| {
        bytes += raw.len();
        let fits = bytes + next.len() <= BATCH;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

fn request(statement: &str) -> Result<String> {
    Ok(serde_json::to_string(&Request { query: statement, minorversion: super::api::MINOR_VERSION })?)
}

fn put(file: &mut impl Write, text: &str) -> Result<()> {
    put_number(file, text.len())?;
    file.write_all(text.as_bytes())
}

fn get(file: &mut impl Read) -> Result<String> {
    let mut text = vec![0; get_number(file)? as usize];
    file.read_exact(&mut text)?;
    String::from_utf8(text).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn get_flag(file: &mut impl Read) -> Result<bool> {
    let mut flag = [0];
    file.read_exact(&mut flag)?;
    Ok(flag != [0])
}
