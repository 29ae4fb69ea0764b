//! Numbers out of the bytes of an input.

/// What is left of an input; behind its end there are zeros.
pub struct Numbers<'a>(pub &'a [u8]);

impl Numbers<'_> {
    /// The next number, of so many bytes.
    pub fn next(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |sum, _| sum << 8 | self.byte())
    }

    fn byte(&mut self) -> u64 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                u64::from(*first)
            }
            None => 0,
        }
    }
}
