//! Frames as the client can read them: what a stranger wrote around a message must not end the connection.
//!
//! The protocol says nothing of the bytes in a short string, and lets tables lie in tables without end. The client
//! takes a short string that is not UTF-8 for a broken connection, and reads tables by recursion until its stack is
//! used up. Either would come again with the same message at every connect, for ever. So both are mended before the
//! client sees them, in place and without a change of length: a stray byte becomes `?`, a table deeper than
//! [`DEEPEST`] the same bytes as a byte array.

/// Tables in tables that are kept as such. The broker's own (`x-death`) need two.
const DEEPEST: usize = 16;
/// What is before a payload: type, channel, size.
const HEAD: usize = 7;
/// A frame that is larger than any broker sends passes as it is.
const LARGEST: usize = 16 * 1024 * 1024;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Class and method of `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// Takes bytes in any pieces, gives them back mended.
#[derive(Debug, Default)]
pub(super) struct Mender {
    /// The beginning of a frame that is not complete yet.
    held: Vec<u8>,
    /// What is left of a frame that passes as it is.
    passing: usize,
}

impl Mender {
    /// Takes the next bytes; appends to `out` those that are complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            let (pass, rest) = bytes.split_at(self.passing.min(bytes.len()));
            out.extend_from_slice(pass);
            self.passing -= pass.len();
            if rest.is_empty() {
                return;
            }
            bytes = self.hold(rest, out);
        }
    }

    /// What is held of an unfinished frame: where the stream ends here, the client may know why.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Collects a frame, up to its end or until it is known not to matter; answers what comes behind that.
    fn hold<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let bytes = self.collect(bytes, HEAD);
        let Some((kind, size)) = self.head() else { return bytes };
        let whole = HEAD + size + 1;
        if !matches!(kind, METHOD | HEADER) || size > LARGEST {
            self.passing = whole - self.held.len();
            out.append(&mut self.held);
            return bytes;
        }
        let bytes = self.collect(bytes, whole);
        if self.held.len() == whole {
            mend(kind, self.held.get_mut(HEAD..whole - 1).unwrap_or_default());
            out.append(&mut self.held);
        }
        bytes
    }

    fn collect<'b>(&mut self, bytes: &'b [u8], until: usize) -> &'b [u8] {
        let (now, later) = bytes.split_at(until.saturating_sub(self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(now);
        later
    }

    fn head(&self) -> Option<(u8, usize)> {
        let [kind, _, _, a, b, c, d] = *self.held.first_chunk::<HEAD>()?;
        Some((kind, u32::from_be_bytes([a, b, c, d]) as usize))
    }
}

/// A payload. What is malformed in another way stays as it is, for the client to complain of.
fn mend(kind: u8, payload: &mut [u8]) {
    let mut walk = Walk { bytes: payload, at: 0 };
    let _ = if kind == HEADER { walk.properties() } else { walk.delivery() };
}

/// Walks over a payload; `None` where it ends too early.
struct Walk<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl Walk<'_> {
    /// `basic.deliver`: consumer tag, delivery tag, redelivered, exchange, routing key.
    fn delivery(&mut self) -> Option<()> {
        if self.take(4)? != DELIVER {
            return Some(());
        }
        self.text()?;
        self.take(9)?;
        self.text()?;
        self.text()
    }

    /// A content header: class, weight, size of the body, flags, and a property for each flag (AMQP 0-9-1, 4.2.6.1).
    fn properties(&mut self) -> Option<()> {
        self.take(12)?;
        let flags = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
            match bit {
                13 => self.table(1)?,
                11 | 12 => drop(self.take(1)?),
                6 => drop(self.take(8)?),
                _ => self.text()?,
            }
        }
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&mut [u8]> {
        let from = self.at;
        self.at = from.checked_add(count)?;
        self.bytes.get_mut(from..self.at)
    }

    fn size(&mut self) -> Option<usize> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?) as usize)
    }

    /// A short string.
    fn text(&mut self) -> Option<()> {
        let size = usize::from(*self.take(1)?.first()?);
        let text = self.take(size)?;
        while let Err(error) = std::str::from_utf8(text) {
            *text.get_mut(error.valid_up_to())? = b'?';
        }
        Some(())
    }

    fn table(&mut self, depth: usize) -> Option<()> {
        let end = self.size()?.checked_add(self.at)?;
        while self.at < end {
            self.text()?;
            self.value(depth)?;
        }
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let end = self.size()?.checked_add(self.at)?;
        while self.at < end {
            self.value(depth)?;
        }
        Some(())
    }

    /// A value of a table, by the types that RabbitMQ knows. A table, an array and a byte array begin alike.
    fn value(&mut self, depth: usize) -> Option<()> {
        let kind = self.take(1)?.first_mut()?;
        if depth >= DEEPEST && matches!(kind, b'F' | b'A') {
            *kind = b'x';
        }
        let size = match kind {
            b'F' => return self.table(depth + 1),
            b'A' => return self.array(depth + 1),
            b'S' | b'x' => self.size()?,
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'u' | b'U' => 2,
            b'i' | b'I' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            _ => return None,
        };
        self.take(size).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, b"\xce"].concat()
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn sized(kind: &[u8], bytes: &[u8]) -> Vec<u8> {
        [kind, &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// A content header with a content type, a table of headers, a priority, a message ID and a timestamp.
    fn header(content_type: &[u8], table: &[u8], message_id: &[u8]) -> Vec<u8> {
        let flags = (1u16 << 15 | 1 << 13 | 1 << 11 | 1 << 7 | 1 << 6).to_be_bytes();
        let start = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        let payload =
            [&start[..], &flags, &text(content_type), &sized(b"", table), b"\x05", &text(message_id), &[0; 8]].concat();
        frame(HEADER, &payload)
    }

    fn mended(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut mender, mut out) = (Mender::default(), Vec::new());
        for piece in pieces {
            mender.feed(piece, &mut out);
        }
        assert_eq!(mender.rest(), b"");
        out
    }

    #[test]
    fn short_strings_that_are_not_utf_8_become_readable_and_the_rest_stays() {
        let table = |key: &[u8]| [text(key), sized(b"S", b"\xff\xfe"), text(b"n"), b"I\0\0\0\x07".to_vec()].concat();
        let came = header(b"a\xff\xfeb", &table(b"\xc3"), b"\xc3\xa9\xf0\x9f");
        assert_eq!(mended(&[&came]), header(b"a??b", &table(b"?"), b"\xc3\xa9??"));
        let deliver =
            |key: &[u8]| frame(METHOD, &[&DELIVER[..], &text(b"tag"), &[0; 9], &text(b"ex"), &text(key)].concat());
        assert_eq!(mended(&[&deliver(b"r\xffk")]), deliver(b"r?k"));
    }

    #[test]
    fn tables_in_tables_without_end_become_byte_arrays_and_ordinary_ones_stay() {
        let nested = |levels: usize, kind: &[u8]| {
            (0..levels).fold(b"V".to_vec(), |inner, _| match kind {
                b"A" => sized(b"A", &inner),
                _ => sized(b"F", &[text(b"k"), inner].concat()),
            })
        };
        for kind in [b"A", b"F"] {
            let ordinary = header(b"t", &[text(b"x-death"), nested(DEEPEST - 1, kind)].concat(), b"m");
            assert_eq!(mended(&[&ordinary]), ordinary);
            let endless = header(b"t", &[text(b"deep"), nested(10_000, kind)].concat(), b"m");
            let mended = mended(&[&endless]);
            assert_eq!(mended.len(), endless.len());
            let differ: Vec<_> = endless.iter().zip(&mended).filter(|(came, made)| came != made).collect();
            assert_eq!(differ, [(&kind[0], &b'x')]);
        }
    }

    #[test]
    fn what_is_in_a_body_or_malformed_is_left_alone() {
        let body = frame(3, &header(b"\xff", b"", b"\xff"));
        assert_eq!(mended(&[&body]), body);
        let unknown = header(b"t", &[&text(b"k")[..], b"Z"].concat(), b"\xff");
        assert_eq!(mended(&[&unknown]), unknown);
        let short = frame(HEADER, b"\0\x3c");
        assert_eq!(mended(&[&short]), short);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let table = [text(b"\xff"), sized(b"S", b"x")].concat();
            let stream = [frame(METHOD, &[0; 30]), header(b"\xff", &table, b"m"), frame(3, &[0xff; 99]), frame(8, b"")].concat();
            let mut rest = &stream[..];
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = later;
            }
            pieces.push(rest);
            prop_assert_eq!(mended(&pieces), mended(&[&stream]));
        }

        #[test]
        fn no_bytes_make_it_panic_or_lose_any(bytes: Vec<u8>, kind in 0u8..4) {
            let came = frame(kind, &bytes);
            prop_assert_eq!(mended(&[&came]).len(), came.len());
            let (mut mender, mut out) = (Mender::default(), Vec::new());
            mender.feed(&bytes, &mut out);
            out.append(&mut mender.rest());
            prop_assert_eq!(out.len(), bytes.len());
        }
    }
}
