//! A scan API for tests: a real HTTP server on loopback that answers as it was told and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Profiles, Provider, Settings};
use crate::domain::scan::Observation;
use crate::time::from_millis;

/// The ID of the Sieve example.
pub(crate) const SIEVE_ID: &str = "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e";
/// The ID of the Enkrypt example.
pub(crate) const ENKRYPT_ID: &str = "123e4567-e89b-12d3-a456-426614174000";

/// The reference answer of Sieve.
pub(crate) const SIEVE_BODY: &str = r#"{"scanId":"2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e","fileName":"suspicious.pdf","fileHash":"<sha256>","fileSize":123456,"mimeType":"application/pdf","status":"completed","results":{},"threatScore":0.12,"isThreat":false,"severity":"low","riskCategory":"safe","analysisMode":"quick","processingTimeMs":1532,"confidence":0.95,"securityIssuesCount":0,"sensitiveDataCount":1,"detectionClass":["document"],"owaspLlmRisks":[],"owaspAgenticThreats":[],"compliance":null,"error":null,"createdAt":"2026-02-14 12:34:56","updatedAt":"2026-02-14 12:35:10"}"#;
/// The reference answer of Enkrypt.
pub(crate) const ENKRYPT_BODY: &str = r#"{"job_id":"123e4567-e89b-12d3-a456-426614174000","job_status":"completed","is_official":false,"is_private":false,"scan_type":"source","repo_name":"user/mcp-server","endpoint_url":null,"auth_type":null,"org_id":null,"user_id":null,"project_name":null,"registry_name":null,"complete_result":{"scan_metadata":{"overall_severity":"High","total_vulnerabilities":5},"tools_scanned":[],"vulnerabilities":[]}}"#;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /path HTTP/1.1`.
    pub(crate) line: String,
    head: String,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    /// The path and query.
    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, then one more every so often, for ever.
    Drip(Vec<u8>, Duration),
}

impl Reply {
    /// A whole answer.
    pub(crate) fn http(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            bytes.extend([*name, ": ", *value, "\r\n"]);
        }
        bytes += "\r\n";
        Self::Bytes([bytes.as_bytes(), body].concat())
    }

    pub(crate) fn json(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::http(status, &[("Content-Type", "application/json")], body)
    }
}

/// The server. Ends when dropped.
pub(crate) struct Server {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers each request with what `answer` says; its number counts from 0.
    pub(crate) async fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { base, asked, _tasks: tasks }
    }

    /// Answers with these in turn; the last one for ever.
    pub(crate) async fn script(replies: Vec<Reply>) -> Self {
        Self::start(move |number, _| replies[number.min(replies.len() - 1)].clone()).await
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// A provider of that built-in profile at this server.
    pub(crate) fn provider(&self, profile: &str) -> Provider {
        provider_with(profile, &self.settings(profile))
    }

    pub(crate) fn settings(&self, profile: &str) -> Settings {
        Settings {
            profile: Some(profile.to_owned()),
            base_url: Some(self.base.clone()),
            api_key: Some("s3cret".into()),
            ..Settings::default()
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static>,
) {
    let Some(asked) = read(&mut stream).await else { return };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    match answer(number, &asked) {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Drip(bytes, pause) => {
            let mut more = stream.write_all(&bytes).await;
            while more.is_ok() {
                tokio::time::sleep(pause).await;
                more = stream.write_all(b" ").await;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
            let asked = Asked { line: line.to_owned(), head: head.to_owned(), body: body.to_owned() };
            let length = asked.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(asked);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A provider with these settings and the built-in profiles.
pub(crate) fn provider_with(name: &str, settings: &Settings) -> Provider {
    Provider::build(name, settings, &Profiles::load(None).unwrap()).unwrap()
}

/// A provider of a profile written in a test, at `server`.
pub(crate) fn provider_of(profile: &str, server: &Server) -> Provider {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("own.toml"), profile).unwrap();
    let profiles = Profiles::load(Some(dir.path())).unwrap_or_else(|problems| panic!("{problems}"));
    Provider::build("own", &server.settings("own"), &profiles).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What one poll of this answer sees.
pub(crate) async fn see(profile: &str, id: &str, reply: Reply) -> super::Seen {
    let server = Server::script(vec![reply]).await;
    server.provider(profile).poll(id, from_millis(0)).await
}

/// Like [`see`]: only what it means.
pub(crate) async fn observe(profile: &str, id: &str, reply: Reply) -> Observation {
    see(profile, id, reply).await.observation
}
