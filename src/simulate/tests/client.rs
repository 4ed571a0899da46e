//! A client that sends what it is told and shows what came, however broken.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What came until the connection ended; an answer that broke off is an error.
pub(super) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// All bytes that come back.
pub(super) async fn raw(to: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

pub(super) async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let length = body.len();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n");
    let request = format!("{head}{}\r\n", headers.concat());
    let bytes = raw(to, &[request.as_bytes(), body].concat()).await?;
    parse(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: bytes[end + 4..].to_vec() })
}

/// `PUT` of JSON that must be taken.
pub(super) async fn put(to: SocketAddr, path: &str, json: &str) {
    let answer = send(to, "PUT", path, &[], json.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// An SMTP client: says a line, hears an answer.
pub(super) struct Smtp(BufReader<TcpStream>);

impl Smtp {
    pub(super) async fn connect(to: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(to).await.unwrap()))
    }

    /// The next whole answer; empty when the connection has ended.
    pub(super) async fn hear(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let start = answer.len();
            if self.0.read_line(&mut answer).await.unwrap_or(0) == 0 || answer[start..].get(3..4) != Some("-") {
                return answer;
            }
        }
    }

    pub(super) async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.hear().await
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.0.into_inner()
    }
}
