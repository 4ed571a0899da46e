//! The connection to a mail server: TCP, TLS (implicit, STARTTLS), sign-in.
//!
//! STARTTLS is done here and not by lettre: one trust store for all of scanbell, and no byte that came before
//! the handshake is taken for an answer after it. lettre then finds an encrypted connection that greets it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dialogue::Trouble;
use crate::destination::answer::Redactor;
use crate::domain::delivery::Reason;
use crate::egress::{TlsSetup, tls_trouble};
use crate::secret::{ExposeSecret, SecretSource};

/// More than this in answer to one message is no mail server.
const MOST_ANSWER: usize = 256 * 1024;
/// What lettre reads as the greeting where the real one came before TLS.
const GREETING: &[u8] = b"220 ready\r\n";

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Implicit,
    StartTls,
    Opportunistic,
    None,
}

/// What to try at AUTH, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mechanisms {
    Auto,
    Plain,
    Login,
    Xoauth2,
}

impl Mechanisms {
    const fn list(self) -> &'static [Mechanism] {
        match self {
            Self::Auto => &[Mechanism::Plain, Mechanism::Login],
            Self::Plain => &[Mechanism::Plain],
            Self::Login => &[Mechanism::Login],
            Self::Xoauth2 => &[Mechanism::Xoauth2],
        }
    }
}

/// Who signs in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: SecretSource,
    pub(super) mechanisms: Mechanisms,
}

/// Where and how to connect.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) login: Option<Login>,
    pub(super) tls: TlsSetup,
    pub(super) hello: ClientId,
    pub(super) connect: Duration,
}

/// How we introduce ourselves: the host's name.
pub(super) fn hello() -> ClientId {
    ClientId::default()
}

/// A connection that stands, greeted and signed in.
pub(super) struct Session {
    pub(super) smtp: AsyncSmtpConnection,
    pub(super) meter: Arc<Meter>,
    pub(super) encrypted: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("encrypted", &self.encrypted).finish_non_exhaustive()
    }
}

impl Server {
    /// Connects, encrypts, greets and signs in, in bounded time.
    pub(super) async fn open(&self) -> Result<Session, Trouble> {
        let late = |_| Trouble::new(Reason::Connect, "no signed-in connection in time");
        tokio::time::timeout(self.connect, self.open_slowly()).await.map_err(late)?
    }

    async fn open_slowly(&self) -> Result<Session, Trouble> {
        let meter = Arc::new(Meter::default());
        let (stream, encrypted) = self.stream(&meter).await?;
        let smtp = AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await;
        let smtp = smtp.map_err(|error| Trouble::before_mail(&error, &meter))?;
        let mut session = Session { smtp, meter, encrypted };
        if let Some(login) = &self.login {
            self.sign_in(login, &mut session).await?;
        }
        Ok(session)
    }

    async fn stream(&self, meter: &Arc<Meter>) -> Result<(Box<dyn AsyncTokioStream>, bool), Trouble> {
        let mut tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| Trouble::new(Reason::Connect, format!("no connection: {error}")))?;
        // Commands are small and each waits for its answer.
        tcp.set_nodelay(true).ok();
        let greeted = match self.security {
            Security::None => false,
            Security::Implicit => return Ok((Wire::boxed(self.encrypt(tcp).await?, &[], meter), true)),
            Security::StartTls | Security::Opportunistic => {
                if ask_for_tls(&mut tcp, &self.hello).await? {
                    return Ok((Wire::boxed(self.encrypt(tcp).await?, GREETING, meter), true));
                }
                true
            }
        };
        if self.security == Security::StartTls {
            return Err(Trouble::new(Reason::Tls, "the server offers no STARTTLS, and `tls` is required"));
        }
        Ok((Wire::boxed(tcp, if greeted { GREETING } else { &[] }, meter), false))
    }

    async fn encrypt(&self, tcp: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Trouble> {
        if self.tls.no_roots {
            return Err(Trouble::new(Reason::Tls, TlsSetup::NO_ROOTS));
        }
        let failed = |error: &(dyn Error + 'static)| {
            let said = tls_trouble(error).unwrap_or_else(|| format!("TLS failed: {error}"));
            Trouble::new(Reason::Tls, said)
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(self.tls.config.clone());
        connector.connect(name, tcp).await.map_err(|error| failed(&error))
    }

    async fn sign_in(&self, login: &Login, session: &mut Session) -> Result<(), Trouble> {
        if !session.encrypted && self.security != Security::None {
            return Err(Trouble::new(Reason::Tls, "the server offers no STARTTLS; the password is not sent without"));
        }
        let password = login.password.read().map_err(|error| Trouble::new(Reason::Secret, error.to_string()))?;
        let credentials = Credentials::new(login.username.clone(), password.expose_secret().to_owned());
        let list = login.mechanisms.list();
        let refused = |error| Trouble::at_sign_in(&error, &session.meter);
        session.smtp.auth(list, &credentials).await.map(drop).map_err(refused)
    }

    /// What must not stay in an answer.
    pub(super) fn hide_secrets(&self, redactor: &mut Redactor) {
        let Some(login) = &self.login else { return };
        if let Ok(password) = login.password.read() {
            let (user, password) = (&login.username, password.expose_secret());
            redactor.hide(password);
            // As AUTH sends them, which a server may quote: base64.
            redactor.hide(&format!("\0{user}\0{password}"));
            redactor.hide(&format!("user={user}\x01auth=Bearer {password}\x01\x01"));
        }
        redactor.hide(&login.username);
    }
}

/// Greeting, EHLO and, if it is offered, STARTTLS, on the bare connection. Answers whether TLS comes next.
async fn ask_for_tls(tcp: &mut TcpStream, hello: &ClientId) -> Result<bool, Trouble> {
    expect(&reply(tcp).await?, "220")?;
    say(tcp, &format!("EHLO {hello}\r\n")).await?;
    let offers = reply(tcp).await?;
    expect(&offers, "250")?;
    if !offers.lines().any(|line| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"))) {
        return Ok(false);
    }
    say(tcp, "STARTTLS\r\n").await?;
    expect(&reply(tcp).await?, "220")?;
    Ok(true)
}

async fn say(tcp: &mut TcpStream, command: &str) -> Result<(), Trouble> {
    tcp.write_all(command.as_bytes()).await.map_err(|error| Trouble::new(Reason::Connect, error.to_string()))
}

fn expect(reply: &str, code: &str) -> Result<(), Trouble> {
    if reply.starts_with(code) {
        return Ok(());
    }
    let reason = match reply.as_bytes() {
        [b'4', b'2', b'1', ..] => Reason::RateLimited,
        [b'4' | b'5', ..] => Reason::ServerError,
        _ => Reason::BadAnswer,
    };
    Err(Trouble::new(reason, reply))
}

/// One reply, all its lines. Bytes after it would be an answer to something not yet asked: refused.
async fn reply(tcp: &mut TcpStream) -> Result<String, Trouble> {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = tcp.read(&mut buffer).await.map_err(|error| Trouble::new(Reason::Connect, error.to_string()))?;
        seen.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&seen);
        let last =
            text.split_inclusive('\n').find(|line| line.ends_with('\n') && line.as_bytes().get(3) != Some(&b'-'));
        match last {
            Some(line) if text.ends_with(line) && text.find(line) == text.len().checked_sub(line.len()) => {
                return Ok(text.trim_end().to_owned());
            }
            Some(_) => return Err(Trouble::new(Reason::BadAnswer, "the server speaks out of turn")),
            None if count == 0 => return Err(Trouble::new(Reason::Connect, "the server hung up while greeting")),
            None if seen.len() > 16 * 1024 => {
                return Err(Trouble::new(Reason::BadAnswer, "the server does not end its reply"));
            }
            None => {}
        }
    }
}

/// What a [`Wire`] has seen; lettre's errors do not tell.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicUsize,
    ended: AtomicBool,
}

impl Default for Meter {
    fn default() -> Self {
        Self { left: AtomicUsize::new(MOST_ANSWER), ended: AtomicBool::new(false) }
    }
}

impl Meter {
    /// A new message: the server may speak again.
    pub(super) fn reset(&self) {
        self.left.store(MOST_ANSWER, Ordering::Relaxed);
    }

    /// Whether the server hung up.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A connection that greets lettre where needed and does not let the server talk for ever.
#[derive(Debug)]
struct Wire<S> {
    stream: S,
    greeting: &'static [u8],
    meter: Arc<Meter>,
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug + 'static> Wire<S> {
    fn boxed(stream: S, greeting: &'static [u8], meter: &Arc<Meter>) -> Box<dyn AsyncTokioStream> {
        Box::new(Self { stream, greeting, meter: Arc::clone(meter) })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let count = buffer.filled().len() - before;
        let left = self.meter.left.load(Ordering::Relaxed);
        self.meter.left.store(left.saturating_sub(count), Ordering::Relaxed);
        if count == 0 {
            self.meter.ended.store(true, Ordering::Relaxed);
        } else if count >= left {
            return Poll::Ready(Err(io::Error::other("the server talks too much")));
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> AsyncTokioStream for Wire<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::Error::from(io::ErrorKind::Unsupported)) // nobody asks
    }
}
