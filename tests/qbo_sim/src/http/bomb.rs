//! A gzip body that unpacks to far more than it weighs. One piece is packed and repeated, so that it is quickly
//! made. Pure.

use flate2::{Compress, Compression, Crc, FlushCompress};

/// Blanks that are packed at a time.
const PIECE: u64 = 1 << 20;

/// Ten bytes that begin a gzip file: deflate, no name, no time.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block.
const END: [u8; 2] = [3, 0];

/// So many blanks, packed.
pub fn bomb(size: u64) -> Vec<u8> {
    let (piece, sum) = packed(PIECE);
    let mut out = HEAD.to_vec();
    let mut crc = Crc::new();
    for _ in 0..size / PIECE {
        out.extend_from_slice(&piece);
        crc.combine(&sum);
    }
    let (rest, sum) = packed(size % PIECE);
    out.extend_from_slice(&rest);
    crc.combine(&sum);
    out.extend_from_slice(&END);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&((size & 0xffff_ffff) as u32).to_le_bytes());
    out
}

/// A piece that can stand behind any other, and its check sum.
fn packed(size: u64) -> (Vec<u8>, Crc) {
    let blanks = vec![b' '; size as usize];
    let mut out = Vec::with_capacity(16 << 10);
    // A full flush ends at a byte and forgets what came before; packing to memory with room does not fail.
    let _ = Compress::new(Compression::best(), false).compress_vec(&blanks, &mut out, FlushCompress::Full);
    let mut crc = Crc::new();
    crc.update(&blanks);
    (out, crc)
}
