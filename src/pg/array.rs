//! Texts of a spool as a `text[]`, where they lie: what PostgreSQL would copy together element by element is laid out on a
//! fetch thread already.

use crate::http::texts::{HEAD, Texts};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

/// A `text[]`.
pub struct TextArray(Texts);

impl TextArray {
    /// Makes the array in the memory of the texts (`array.h`, `varatt.h`: a head, then values that begin with their length).
    pub fn new(mut texts: Texts) -> TextArray {
        let count = texts.len();
        let memory = texts.memory();
        let whole = memory.len();
        let (head, mut rest) = memory.split_at_mut(HEAD.min(whole));
        // Without elements there is no dimension either, and the head is shorter.
        let dimensions = u32::from(count > 0);
        let length = if count > 0 { whole } else { HEAD - 8 };
        let text = u32::from(pg_sys::TEXTOID);
        let words = [size(length), dimensions, 0, text, count as u32, 1];
        for (place, word) in head.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        while let Some((word, after)) = rest.split_first_chunk_mut() {
            let bytes = u32::from_ne_bytes(*word) as usize;
            *word = size(bytes + word.len()).to_ne_bytes();
            rest = after.get_mut(bytes.next_multiple_of(4)..).unwrap_or_default();
        }
        TextArray(texts)
    }

    /// The array as a parameter.
    pub fn datum(&mut self) -> DatumWithOid<'_> {
        let memory = self.0.memory();
        debug_assert!(memory.as_ptr().addr().is_multiple_of(4));
        let datum = pg_sys::Datum::from(memory.as_ptr());
        // SAFETY: a text[] as made in `new`, aligned as arrays are; it lives as long as the parameter.
        unsafe { DatumWithOid::new(datum, pg_sys::TEXTARRAYOID) }
    }
}

/// The first word of a value of so many bytes, itself included (SET_VARSIZE). A text is never that long.
fn size(bytes: usize) -> u32 {
    let bytes = bytes as u32;
    if cfg!(target_endian = "little") { bytes << 2 } else { bytes & 0x3FFF_FFFF }
}
