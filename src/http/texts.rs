//! Many texts in one piece of memory, laid out as the elements of a `text[]` are: the array is made where they lie.

use std::io::{Error, ErrorKind, Read, Result, Write};

/// Bytes that are kept free at the beginning, for the head of the array.
pub const HEAD: usize = 24;

/// What an array of PostgreSQL can hold, in bytes.
const MOST: usize = (1 << 30) - 1;

/// Texts in their order. Each is its length in four bytes, in the order of this machine, and its own bytes; the next one
/// begins at a multiple of four.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    count: usize,
    memory: Vec<u8>,
    /// Where in `memory` the head begins: at a multiple of four too.
    start: usize,
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The texts in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest = self.memory.get(self.start + HEAD..).unwrap_or_default();
        (0..self.count).map_while(move |_| {
            let (length, after) = rest.split_first_chunk()?;
            let length = u32::from_ne_bytes(*length) as usize;
            let (text, after) = after.split_at_checked(length.next_multiple_of(4))?;
            rest = after;
            std::str::from_utf8(text.get(..length)?).ok()
        })
    }

    /// Those whose place, from 0, `keep` accepts.
    pub fn only(&self, keep: impl Fn(usize) -> bool) -> Result<Texts> {
        let kept = self.iter().enumerate().filter(|(place, _)| keep(*place)).map(|(_, text)| text);
        let mut written = Vec::new();
        Texts::write(kept, &mut written)?;
        Texts::read(&mut written.as_slice())
    }

    /// The head, which is free, and the texts behind it.
    pub fn memory(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..).unwrap_or_default()
    }

    /// Reads what `write` wrote.
    pub fn read(file: &mut impl Read) -> Result<Texts> {
        let (count, length) = (get_number(file)? as usize, get_number(file)? as usize);
        let mut memory = vec![0; HEAD + length + 3];
        let start = memory.as_ptr().align_offset(4).min(3);
        memory.truncate(start + HEAD + length);
        file.read_exact(memory.get_mut(start + HEAD..).unwrap_or_default())?;
        Ok(Texts { count, memory, start })
    }

    /// Writes texts so that `read` takes them in at once. Error: `InvalidInput`, for more than an array can hold.
    pub fn write<'a>(texts: impl Iterator<Item = &'a str> + Clone, file: &mut impl Write) -> Result<()> {
        let room = |text: &str| 4 + text.len().next_multiple_of(4);
        let length = texts.clone().map(room).sum();
        if HEAD + length > MOST {
            return Err(Error::new(ErrorKind::InvalidInput, "longer than a value of PostgreSQL can be"));
        }
        put_number(file, texts.clone().count())?;
        put_number(file, length)?;
        for text in texts {
            put_number(file, text.len())?;
            file.write_all(text.as_bytes())?;
            file.write_all([0; 3].get(..room(text) - 4 - text.len()).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Writes a length, or another number that takes four bytes. Error: `InvalidInput`, for one that takes more.
pub fn put_number(file: &mut impl Write, number: usize) -> Result<()> {
    let number = u32::try_from(number)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "a number too large for the spool"))?;
    file.write_all(&number.to_ne_bytes())
}

/// Reads it.
pub fn get_number(file: &mut impl Read) -> Result<u32> {
    let mut number = [0; 4];
    file.read_exact(&mut number)?;
    Ok(u32::from_ne_bytes(number))
}
