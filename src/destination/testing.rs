//! Receivers on real sockets that do what a test tells them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::domain::notification::{Content, Mail, Notification};
use crate::time::from_millis;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Got {
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An HTTP server whose answers are raw bytes, chosen by the number of the request (from 0).
pub(crate) struct HttpStub {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    _tasks: JoinSet<()>,
}

/// `HTTP/1.1 {status}` with headers (each ending in CR LF) and a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl HttpStub {
    pub(crate) async fn start(answers: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_on(None, answers).await
    }

    pub(crate) async fn start_tls(
        tls: TlsAcceptor,
        answers: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(Some(tls), answers).await
    }

    async fn start_on(tls: Option<TlsAcceptor>, answers: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let mut tasks = JoinSet::new();
        let (all, answers) = (got.clone(), Arc::new(answers));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (all, answers, tls) = (all.clone(), answers.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => converse(socket, &all, &*answers).await,
                        Some(tls) => match tls.accept(socket).into_fallible().await {
                            Ok(socket) => converse(socket, &all, &*answers).await,
                            // Hanging up on what is still coming would take back what was said about it.
                            Err((_, mut socket)) => drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await),
                        },
                    }
                });
            }
        });
        Self { address, got, _tasks: tasks }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    all: &Mutex<Vec<Got>>,
    answers: &(impl Fn(usize) -> Vec<u8> + Sync),
) {
    let mut socket = BufReader::new(socket);
    while let Some(request) = read_request(&mut socket).await {
        let number = {
            let mut all = all.lock().unwrap();
            all.push(request);
            all.len() - 1
        };
        if socket.write_all(&answers(number)).await.is_err() || socket.flush().await.is_err() {
            return;
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(socket: &mut BufReader<S>) -> Option<Got> {
    let mut got = Got::default();
    socket.read_line(&mut got.line).await.ok().filter(|count| *count > 0)?;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        got.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = got.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    got.body.resize(length, 0);
    socket.read_exact(&mut got.body).await.ok()?;
    Some(got)
}

/// What an SMTP server does with a line.
pub(crate) enum React {
    Say(String),
    Hang,
    HangUp,
}

/// An SMTP server: `script` sees each command (and `.` for the end of a message) and may react; else all goes well.
pub(crate) struct SmtpStub {
    pub(crate) address: SocketAddr,
    said: Lines,
    mails: Lines,
    _tasks: JoinSet<()>,
}

type Lines = Arc<Mutex<Vec<String>>>;
type Script = dyn FnMut(&str) -> Option<React> + Send;

impl SmtpStub {
    pub(crate) async fn start(script: impl FnMut(&str) -> Option<React> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, mails) = (Lines::default(), Lines::default());
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(script));
        let mut tasks = JoinSet::new();
        let (all, inbox) = (said.clone(), mails.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                all.lock().unwrap().push("(connection)".to_owned());
                connections.spawn(serve(
                    "(greeting)",
                    BufReader::new(socket),
                    script.clone(),
                    all.clone(),
                    inbox.clone(),
                ));
            }
        });
        Self { address, said, mails, _tasks: tasks }
    }

    /// With TLS from the first byte or after STARTTLS, for `localhost`; the file is its CA.
    pub(crate) async fn start_tls(implicit: bool) -> (Self, tempfile::NamedTempFile) {
        let (acceptor, ca) = tls_server();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, mails) = (Lines::default(), Lines::default());
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(|_: &str| None));
        let mut tasks = JoinSet::new();
        let (all, inbox) = (said.clone(), mails.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let (acceptor, script, all, inbox) = (acceptor.clone(), script.clone(), all.clone(), inbox.clone());
                connections.spawn(async move {
                    let first = if implicit { "(greeting)" } else { "(silence)" };
                    if !implicit {
                        for line in ["220 stub\r\n", "250-stub\r\n250 STARTTLS\r\n", "220 go\r\n"] {
                            socket.write_all(line.as_bytes()).await.unwrap();
                            if !line.starts_with("220 go") {
                                let _ = socket.read(&mut [0; 1000]).await;
                            }
                        }
                    }
                    if let Ok(socket) = acceptor.accept(socket).await {
                        serve(first, BufReader::new(socket), script, all, inbox).await;
                    }
                });
            }
        });
        (Self { address, said, mails, _tasks: tasks }, ca)
    }

    /// Every line the client sent outside of messages.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The messages that were taken.
    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

/// A certificate for `localhost` that signs itself, and its file.
pub(crate) fn tls_server() -> (TlsAcceptor, tempfile::NamedTempFile) {
    crate::egress::install_tls();
    let made = self_signed("localhost");
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    (acceptor(config, &made), file(&made.cert.pem()))
}

/// The same, but it wants the certificate that is in the second file, whose key is in the third.
pub(crate) fn mutual_tls_server() -> (TlsAcceptor, [tempfile::NamedTempFile; 3]) {
    crate::egress::install_tls();
    let (server, client) = (self_signed("localhost"), self_signed("scanbell"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(roots.into()).build().unwrap();
    let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
    let key = client.signing_key.serialize_pem();
    (acceptor(config, &server), [file(&server.cert.pem()), file(&client.cert.pem()), file(&key)])
}

type Made = rcgen::CertifiedKey<rcgen::KeyPair>;

fn self_signed(name: &str) -> Made {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

fn acceptor(
    config: rustls::ConfigBuilder<rustls::ServerConfig, rustls::server::WantsServerCert>,
    made: &Made,
) -> TlsAcceptor {
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap()))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    first: &str,
    mut socket: BufReader<S>,
    script: Arc<Mutex<Script>>,
    said: Lines,
    mails: Lines,
) {
    let mut command = first.to_owned();
    let mut mail = String::new();
    loop {
        let reaction = (script.lock().unwrap())(&command);
        let usual = match command.split([' ', ':']).next().unwrap_or_default() {
            "(greeting)" => "220 stub ESMTP",
            "EHLO" => "250-stub\r\n250-AUTH PLAIN LOGIN XOAUTH2\r\n250 8BITMIME",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "." => "250 2.0.0 queued as 4711",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        let reply = match reaction {
            Some(React::Say(reply)) => reply,
            Some(React::Hang) => std::future::pending().await,
            Some(React::HangUp) => return,
            None => usual.to_owned(),
        };
        if command == "." && reply.starts_with('2') {
            mails.lock().unwrap().push(std::mem::take(&mut mail));
        }
        let reply = if command == "(silence)" { String::new() } else { format!("{reply}\r\n") };
        if socket.write_all(reply.as_bytes()).await.is_err() || command == "QUIT" {
            return;
        }
        let in_message = command == "DATA" && reply.starts_with("354");
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if in_message && line != ".\r\n" {
                mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                continue;
            }
            command = line.trim_end().to_owned();
            break;
        }
        said.lock().unwrap().push(command.clone());
    }
}

/// A notification with a JSON body.
pub(crate) fn http_notification(destination: &str, body: &'static [u8]) -> Notification {
    notification(destination, Content::Http { content_type: "application/json".into(), body: Bytes::from_static(body) })
}

/// A notification for mail.
pub(crate) fn mail_notification(destination: &str, subject: &str, text: &str) -> Notification {
    let mail = Mail { subject: subject.into(), text: text.into(), html: format!("<p>{text}</p>") };
    notification(destination, Content::Mail(mail))
}

fn notification(destination: &str, content: Content) -> Notification {
    Notification {
        id: Uuid::now_v7(),
        scan: None,
        destination: destination.into(),
        created_at: from_millis(1_771_072_496_000),
        content,
    }
}

/// Waits for what another task does; fails after a while that no machine needs.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}
