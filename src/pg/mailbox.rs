//! A piece of shared memory that carries one question to a worker and its answer back. Nothing of it ever reaches a table,
//! a log or the list of activities; so a secret may travel in it.

use crate::error::{Error, Result};
use pgrx::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

const ASKED: u32 = 0;
const ANSWERED: u32 = 1;
const ABANDONED: u32 = 2;

/// What lies at the beginning of the memory; the text follows.
#[repr(C)]
struct Head {
    state: AtomicU32,
    length: AtomicU32,
}

/// One side of it.
pub struct Mailbox {
    segment: *mut pg_sys::dsm_segment,
}

/// Tells the worker that nobody listens: an error unwound through the asker, or its process ends.
#[pg_guard]
unsafe extern "C-unwind" fn abandon(segment: *mut pg_sys::dsm_segment, _argument: pg_sys::Datum) {
    // SAFETY: PostgreSQL calls this before it takes the memory away.
    let head = unsafe { &*pg_sys::dsm_segment_address(segment).cast::<Head>() };
    let _ = head.state.compare_exchange(ASKED, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
}

impl Mailbox {
    /// Makes one with room for so many bytes, and puts the question in. Error: the server has no memory left for it.
    pub fn new(question: &str, room: usize) -> Result<Mailbox> {
        let size = size_of::<Head>() + question.len().max(room);
        // SAFETY: main thread of a backend; null is returned only where that is asked for.
        let segment = unsafe { pg_sys::dsm_create(size, pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32) };
        if segment.is_null() {
            return Err(Error::Database {
                sqlstate: "53000".to_owned(),
                message: "no shared memory segment is free".to_owned(),
                detail: None,
                hint: Some("Try again when other sessions have ended.".to_owned()),
            });
        }
        // SAFETY: just made; the function lives as long as the process.
        unsafe { pg_sys::on_dsm_detach(segment, Some(abandon), pg_sys::Datum::from(0_usize)) };
        let mailbox = Mailbox { segment };
        mailbox.put(question);
        mailbox.head().state.store(ASKED, Ordering::Release);
        Ok(mailbox)
    }

    /// Opens the one with this number; None: whoever asked is gone.
    pub fn open(number: u32) -> Option<Mailbox> {
        // SAFETY: main thread of a worker; an unknown number gives null.
        let segment = unsafe { pg_sys::dsm_attach(number) };
        (!segment.is_null()).then_some(Mailbox { segment })
    }

    /// Its number, for the worker.
    pub fn number(&self) -> u32 {
        // SAFETY: the segment is attached as long as this lives.
        unsafe { pg_sys::dsm_segment_handle(self.segment) }
    }

    /// The question.
    pub fn question(&self) -> String {
        self.text()
    }

    /// Answers. A text that is too long for the room is replaced by `too_long`.
    pub fn answer(&self, text: &str, too_long: &str) {
        self.put(if text.len() <= self.room() { text } else { too_long });
        let _ = self.head().state.compare_exchange(ASKED, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The answer, once it is there.
    pub fn answered(&self) -> Option<String> {
        (self.head().state.load(Ordering::Acquire) == ANSWERED).then(|| self.text())
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.head().state.load(Ordering::Acquire) == ABANDONED
    }

    fn head(&self) -> &Head {
        // SAFETY: the memory is attached, page aligned and longer than a head; it is only touched through atomics.
        unsafe { &*pg_sys::dsm_segment_address(self.segment).cast::<Head>() }
    }

    fn room(&self) -> usize {
        // SAFETY: as for `number`.
        unsafe { pg_sys::dsm_segment_map_length(self.segment) }.saturating_sub(size_of::<Head>())
    }

    fn bytes(&self) -> *mut u8 {
        // SAFETY: the text begins behind the head, inside the memory.
        unsafe { pg_sys::dsm_segment_address(self.segment).cast::<u8>().add(size_of::<Head>()) }
    }

    fn put(&self, text: &str) {
        let length = text.len().min(self.room());
        // SAFETY: `length` fits; the other side reads only after the state has changed.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.bytes(), length) };
        self.head().length.store(u32::try_from(length).unwrap_or(0), Ordering::Release);
    }

    fn text(&self) -> String {
        let length = (self.head().length.load(Ordering::Acquire) as usize).min(self.room());
        // SAFETY: `length` bytes were written; the other side does not write while it waits for us.
        let bytes = unsafe { std::slice::from_raw_parts(self.bytes(), length) };
        String::from_utf8_lossy(bytes).into_owned()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // SAFETY: attached by us. The abort of a transaction runs after this, so it does not detach a second time.
        unsafe { pg_sys::dsm_detach(self.segment) };
    }
}
