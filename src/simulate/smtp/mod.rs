//! The simulated mail server: accepts connections, encrypts them where it is given a certificate, and hands each to a
//! [`session::Session`].

mod mailbox;
mod session;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::inner::Inner;
use session::Session;

/// More connections wait for their turn.
const MOST_SESSIONS: usize = 1_000;
/// A session does not last longer: whoever hangs is let go.
const LONGEST_SESSION: Duration = Duration::from_secs(1_800);
/// Until TLS stands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A certificate for the mail server.
#[derive(Clone)]
pub struct Tls {
    /// The chain, PEM.
    pub cert_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
    /// True: TLS from the first byte (`smtps://`). False: STARTTLS is offered.
    pub implicit: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("implicit", &self.implicit).finish_non_exhaustive()
    }
}

/// A connection, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How connections are encrypted.
#[derive(Clone)]
struct Encryption {
    acceptor: TlsAcceptor,
    implicit: bool,
}

/// The mail server before it runs.
pub(super) struct Server {
    listener: TcpListener,
    encryption: Option<Encryption>,
}

impl Server {
    /// An unreadable certificate or key is an error.
    pub(super) fn new(listener: TcpListener, tls: Option<&Tls>) -> io::Result<Self> {
        let encryption = tls.map(|tls| acceptor(tls).map_err(io::Error::other)).transpose()?;
        Ok(Self { listener, encryption })
    }

    /// Accepts until the world ends; sessions live on `tasks`.
    pub(super) async fn run(self, inner: Arc<Inner>, tasks: TaskTracker) {
        let room = Arc::new(Semaphore::new(MOST_SESSIONS));
        let stopping = inner.stopping.clone();
        let accepting = async {
            while let Ok(permit) = room.clone().acquire_owned().await {
                // Out of file descriptors, most likely: others will be freed.
                let Ok((stream, _)) = self.listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (inner, encryption) = (inner.clone(), self.encryption.clone());
                tasks.spawn(async move {
                    serve(stream, inner, encryption).await;
                    drop(permit);
                });
            }
        };
        stopping.run_until_cancelled(accepting).await;
    }
}

/// One connection from greeting to end; how it ends is of no interest.
async fn serve(stream: TcpStream, inner: Arc<Inner>, encryption: Option<Encryption>) {
    let stopping = inner.stopping.clone();
    let _ = stream.set_nodelay(true);
    let dialogue = async {
        let implicit = encryption.as_ref().filter(|encryption| encryption.implicit);
        let wire: Box<dyn Wire> = match implicit {
            Some(encryption) => encrypt(&encryption.acceptor, Box::new(stream)).await?,
            None => Box::new(stream),
        };
        let starttls = encryption.as_ref().filter(|encryption| !encryption.implicit);
        Session::new(inner, wire, implicit.is_some(), starttls.map(|encryption| encryption.acceptor.clone()))
            .run()
            .await
    };
    let _ = stopping.run_until_cancelled(tokio::time::timeout(LONGEST_SESSION, dialogue)).await;
}

async fn encrypt(acceptor: &TlsAcceptor, wire: Box<dyn Wire>) -> io::Result<Box<dyn Wire>> {
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(wire)).await??;
    Ok(Box::new(stream))
}

fn acceptor(tls: &Tls) -> Result<Encryption, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(tls.cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes())?;
    // The provider by name: another crate may have installed another one, or none.
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Encryption { acceptor: TlsAcceptor::from(Arc::new(config)), implicit: tls.implicit })
}
