//! Reading from an SMTP client, whatever it sends: lines within a limit, a message with its dots unstuffed, addresses,
//! the secrets of AUTH.

use std::io;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The largest message, in bytes: announced as SIZE.
pub(super) const LARGEST: usize = 10 * 1024 * 1024;
/// The longest command, in bytes: AUTH's answers are the longest there are (RFC 4954, 4.5.3).
const LONGEST_LINE: u64 = 12_288;
/// Lines of a message may be longer than they should; they are read in pieces of this many bytes.
const PIECE: u64 = 64 * 1024;

/// The next command without its line end; none at the end or when it is too long.
pub(super) async fn line(wire: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    wire.take(LONGEST_LINE).read_until(b'\n', &mut bytes).await?;
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned()))
}

/// The message up to its dot, dots unstuffed; none when it was larger than [`LARGEST`].
pub(super) async fn message(wire: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Bytes>> {
    let (mut message, mut piece, mut too_large, mut at_start) = (Vec::new(), Vec::new(), false, true);
    loop {
        piece.clear();
        if wire.take(PIECE).read_until(b'\n', &mut piece).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if at_start && (piece == b".\r\n" || piece == b".\n") {
            break;
        }
        let text = if at_start { piece.strip_prefix(b".").unwrap_or(&piece) } else { &piece };
        at_start = piece.ends_with(b"\n");
        too_large |= message.len() + text.len() > LARGEST;
        if too_large {
            message = Vec::new();
        } else {
            message.extend_from_slice(text);
        }
    }
    Ok((!too_large).then(|| Bytes::from(message)))
}

/// The address in `FROM:<a@example.com> SIZE=5`; an empty one is the null sender.
pub(super) fn address(argument: &str, word: &str) -> Option<String> {
    let (start, rest) = argument.split_at_checked(word.len())?;
    let rest = rest.trim_start().strip_prefix('<')?;
    let (address, _) = rest.split_once('>')?;
    start.eq_ignore_ascii_case(word).then(|| address.to_owned())
}

/// Base64 as text.
pub(super) fn decoded(text: &str) -> Option<String> {
    STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// User and password of AUTH PLAIN (RFC 4616).
pub(super) fn plain(text: &str) -> Option<(String, String)> {
    let text = decoded(text)?;
    let mut parts = text.split('\0').skip(1);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// User and token of AUTH XOAUTH2.
pub(super) fn xoauth2(text: &str) -> Option<(String, String)> {
    let text = decoded(text)?;
    let mut parts = text.split('\u{1}');
    let user = parts.next()?.strip_prefix("user=")?;
    let token = parts.next()?.strip_prefix("auth=Bearer ")?;
    Some((user.to_owned(), token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(wire: &[u8]) -> io::Result<Option<Bytes>> {
        message(&mut &wire[..]).await
    }

    #[tokio::test]
    async fn dots_are_unstuffed_only_at_the_start_of_a_line() {
        let got = read(b"a\r\n..b\r\nc.\r\n...\r\n.\r\nQUIT\r\n").await.unwrap().unwrap();
        assert_eq!(got, "a\r\n.b\r\nc.\r\n..\r\n");
    }

    #[tokio::test]
    async fn a_message_above_the_limit_is_read_to_its_end_but_not_kept() {
        let mut wire = vec![b'x'; LARGEST + 1];
        wire.extend(b"\r\n.\r\n");
        assert_eq!(read(&wire).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_dot_in_the_middle_of_a_very_long_line_ends_nothing() {
        let mut wire = vec![b'x'; PIECE as usize];
        wire.extend(b".\r\n.\r\n");
        assert_eq!(read(&wire).await.unwrap().unwrap().len(), PIECE as usize + 3);
    }

    #[tokio::test]
    async fn a_command_without_end_is_not_read_for_ever() {
        assert_eq!(line(&mut &vec![b'x'; 1_000_000][..]).await.unwrap(), None);
        assert_eq!(line(&mut &b"NOOP\r\n"[..]).await.unwrap().as_deref(), Some("NOOP"));
    }

    #[test]
    fn addresses_are_found_between_their_brackets() {
        assert_eq!(address("FROM:<a@x.example> SIZE=5", "FROM:").as_deref(), Some("a@x.example"));
        assert_eq!(address("from:<>", "FROM:").as_deref(), Some(""));
        assert_eq!(address("TO:<é", "TO:"), None);
        assert_eq!(address("é", "TO:"), None);
    }

    #[test]
    fn secrets_of_each_mechanism_are_read() {
        assert_eq!(plain("AHVzZXIAcGFzcw=="), Some(("user".to_owned(), "pass".to_owned())));
        let token = STANDARD.encode("user=u\u{1}auth=Bearer t\u{1}\u{1}");
        assert_eq!(xoauth2(&token), Some(("u".to_owned(), "t".to_owned())));
        assert_eq!(plain("not base64!"), None);
    }
}
