//! Makes frames from the broker safe for the client that reads them.
//!
//! A publisher may put anything into a message's properties, and the broker passes it on. The client ends its
//! connection at text that is not UTF-8, and the whole process at a header nested some thousand deep, and either
//! again at every redelivery. So such a frame is mended before the client sees it: bytes that are no text become
//! `?`, and what is nested too deep becomes a string of bytes. Lengths stay as they are; bodies are not touched.

use std::ops::Range;

use bytes::{Buf, BytesMut};

/// Kinds of frames (AMQP 0-9-1, 4.2.3) that carry strings of the publisher.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Kind, channel and size; and the end mark.
const FRAME_START: usize = 7;
const FRAME_END: usize = 1;
/// A frame larger than this is no method and no header; it is passed on as it is.
const LARGEST: usize = 1024 * 1024;
/// How deep headers may be nested.
const MAX_DEPTH: usize = 16;

/// Takes bytes as they come from the broker and gives them out mended.
#[derive(Debug, Default)]
pub(super) struct Mender {
    /// The begin of a frame that is not whole yet.
    partial: BytesMut,
    /// So many bytes of the frame at hand are passed on unseen.
    passing: usize,
}

impl Mender {
    /// Appends to `out` what can be given out after `input`.
    pub(super) fn push(&mut self, input: &[u8], out: &mut BytesMut) {
        self.partial.extend_from_slice(input);
        loop {
            let passed = self.passing.min(self.partial.len());
            out.extend_from_slice(&self.partial[..passed]);
            self.partial.advance(passed);
            self.passing -= passed;
            let (Some(&kind), Some(size)) = (self.partial.first(), self.partial.get(3..FRAME_START)) else { return };
            let size = size.iter().fold(0usize, |size, byte| size << 8 | usize::from(*byte));
            let whole = FRAME_START.saturating_add(size).saturating_add(FRAME_END);
            if !matches!(kind, METHOD | HEADER) || whole > LARGEST {
                self.passing = whole;
            } else if self.partial.len() < whole {
                return;
            } else {
                let payload = &mut self.partial[FRAME_START..FRAME_START + size];
                // `None` is a frame that we do not understand: the client shall say what it thinks of it.
                let _ = if kind == HEADER { header(payload) } else { method(payload) };
                self.passing = whole;
            }
        }
    }
}

/// `basic.deliver`: exchange and routing key are the publisher's.
fn method(payload: &mut [u8]) -> Option<()> {
    if payload.get(..4)? != [0, 60, 0, 60] {
        return Some(());
    }
    let tag = short(payload, 4)?;
    let exchange = short(payload, tag + 9)?;
    short(payload, exchange).map(|_| ())
}

/// A content header: its properties in the order of their flags, the highest bit first.
fn header(payload: &mut [u8]) -> Option<()> {
    let flags = u16::from_be_bytes([*payload.get(12)?, *payload.get(13)?]);
    let mut at = 14;
    for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
        at = match bit {
            13 => table(payload, at)?,
            12 | 11 => at + 1,
            6 => at + 8,
            _ => short(payload, at)?,
        };
    }
    Some(())
}

/// Mends a short string; answers where it ends.
fn short(payload: &mut [u8], at: usize) -> Option<usize> {
    let end = at + 1 + usize::from(*payload.get(at)?);
    let text = payload.get_mut(at + 1..end)?;
    if std::str::from_utf8(text).is_err() {
        text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
    Some(end)
}

/// The extent of something with a length of four bytes before it.
fn long(payload: &[u8], at: usize) -> Option<Range<usize>> {
    let length = u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?);
    let end = (at + 4).checked_add(usize::try_from(length).ok()?)?;
    (end <= payload.len()).then_some(at + 4..end)
}

fn table(payload: &mut [u8], at: usize) -> Option<usize> {
    let extent = long(payload, at)?;
    values(payload.get_mut(extent.clone())?, true, 1)?;
    Some(extent.end)
}

/// Mends the values of a table (`named`) or of an array, which are all of `payload`: none reaches out of what it is
/// in. Recurses no deeper than [`MAX_DEPTH`].
fn values(payload: &mut [u8], named: bool, depth: usize) -> Option<()> {
    let mut at = 0;
    while at < payload.len() {
        if named {
            at = short(payload, at)?;
        }
        let kind = *payload.get(at)?;
        at += 1;
        at = match kind {
            b'A' | b'F' => {
                let inner = long(payload, at)?;
                if depth < MAX_DEPTH {
                    values(payload.get_mut(inner.clone())?, kind == b'F', depth + 1)?;
                } else {
                    *payload.get_mut(at - 1)? = b'x'; // the same length, and nothing inside
                }
                inner.end
            }
            b'S' | b'x' => long(payload, at)?.end,
            b't' | b'b' | b'B' => at + 1,
            b's' | b'U' | b'u' => at + 2,
            b'I' | b'i' | b'f' => at + 4,
            b'D' => at + 5,
            b'L' | b'l' | b'd' | b'T' => at + 8,
            b'V' => at,
            _ => return None,
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short_of(text: &[u8]) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text].concat()
    }

    fn long_of(content: &[u8]) -> Vec<u8> {
        [&u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[kind, 0, 1][..], &long_of(payload), &[0xce]].concat()
    }

    fn header_frame(flags: u16, properties: &[u8]) -> Vec<u8> {
        let fixed = [&[0, 60, 0, 0][..], &5u64.to_be_bytes(), &flags.to_be_bytes()].concat();
        frame(HEADER, &[fixed, properties.to_vec()].concat())
    }

    fn mended(input: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        Mender::default().push(input, &mut out);
        out.to_vec()
    }

    #[test]
    fn frames_that_are_fine_pass_unchanged_however_they_are_cut() {
        let table = long_of(&[short_of("schlüssel".as_bytes()), vec![b'S'], long_of(b"\xff\xfe")].concat());
        let stream = [
            frame(METHOD, &[0, 10, 0, 10, 0, 9]),
            header_frame(1 << 15 | 1 << 13, &[short_of("täxt".as_bytes()), table].concat()),
            frame(3, &vec![0xff; 100_000]),
            frame(8, b""),
        ]
        .concat();
        assert_eq!(mended(&stream), stream);
        let (mut mender, mut out) = (Mender::default(), BytesMut::new());
        for byte in &stream {
            mender.push(&[*byte], &mut out);
        }
        assert_eq!(out, stream);
    }

    #[test]
    fn what_is_no_text_becomes_question_marks() {
        let deliver = |key: &[u8]| {
            let start = [&[0, 60, 0, 60][..], &short_of(b"ctag"), &[0; 9], &short_of(b"")].concat();
            frame(METHOD, &[start, short_of(key)].concat())
        };
        assert_eq!(mended(&deliver(b"a\xff\xfeb")), deliver(b"a??b"));
        let entry = |key: &[u8]| long_of(&[short_of(key), vec![b'V']].concat());
        let flags = 1 << 15 | 1 << 13 | 1 << 6 | 1 << 5;
        let all =
            |text: &[u8]| header_frame(flags, &[short_of(text), entry(text), vec![0; 8], short_of(text)].concat());
        assert_eq!(mended(&all(b"\xc3(")), all(b"?("));
    }

    #[test]
    fn what_is_nested_too_deep_becomes_bytes_of_the_same_length() {
        let nested = |tags: &[u8]| {
            let value = tags.iter().rev().fold(Vec::new(), |inner, tag| [&[*tag][..], &long_of(&inner)].concat());
            header_frame(1 << 13, &long_of(&[short_of(b"k"), value].concat()))
        };
        let mut expected = vec![b'A'; 20_000];
        expected[MAX_DEPTH - 1] = b'x';
        assert_eq!(mended(&nested(&expected.iter().map(|_| b'A').collect::<Vec<u8>>())), nested(&expected));
        assert_eq!(mended(&nested(&[b'A'; MAX_DEPTH - 1])), nested(&[b'A'; MAX_DEPTH - 1]));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_panics(
            kind in 0u8..4, payload in proptest::collection::vec(any::<u8>(), 0..200), rest in any::<[u8; 9]>(),
        ) {
            let headers = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &payload].concat();
            for stream in [frame(kind, &payload), frame(HEADER, &headers), [frame(METHOD, &payload), rest.to_vec()].concat()] {
                let (mut mender, mut out) = (Mender::default(), BytesMut::new());
                mender.push(&stream, &mut out);
                prop_assert_eq!(out.len() + mender.partial.len(), stream.len());
            }
        }
    }
}
