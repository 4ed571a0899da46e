//! The stream between the broker and the client: TCP, TLS as everywhere else in scanbell, and a [`Mender`] in it.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use bytes::{Buf, BytesMut};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::frames::Mender;
use crate::egress::TlsSetup;

/// A plain or TLS stream.
type Raw = Box<dyn Wire>;

trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin> Wire for S {}

/// Opens a connection whose incoming frames are mended; with `tls`, everything on it is encrypted.
pub(super) async fn open(
    uri: AMQPUri,
    options: ConnectionProperties,
    tls: Option<TlsSetup>,
) -> lapin::Result<Connection> {
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), MendingReactor(tokio)));
    let connect = async move |uri: AMQPUri, _: Runtime<RuntimeParts<Tokio, MendingReactor>>| {
        Ok(AsyncTcpStream::Plain(Mended::new(dial(&uri, tls.as_ref()).await?)))
    };
    Connection::connector(uri, runtime, connect, options).await
}

/// Connects and, where it is wanted, makes sure of who is there.
async fn dial(uri: &AMQPUri, tls: Option<&TlsSetup>) -> io::Result<Raw> {
    let host = uri.authority.host.as_str();
    let tcp = TcpStream::connect((host, uri.authority.port)).await?;
    tcp.set_nodelay(true).ok(); // an acknowledgement is small and must not wait for the next
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls.config.clone()).connect(name, tcp).await?))
}

/// What the broker sends, mended; what the client sends, as it is.
pub(super) struct Mended {
    raw: Raw,
    mender: Mender,
    ready: BytesMut,
    scratch: Box<[u8]>,
}

const SCRATCH: usize = 32 * 1024;

impl Mended {
    fn new(raw: Raw) -> Self {
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        Self { raw, mender: Mender::default(), ready: BytesMut::new(), scratch }
    }
}

impl AsyncRead for Mended {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.ready.is_empty() {
            let mut read = ReadBuf::new(&mut this.scratch);
            ready!(Pin::new(&mut this.raw).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(0)); // part of a frame is of no use to anybody
            }
            this.mender.push(read.filled(), &mut this.ready);
        }
        let count = this.ready.len().min(buffer.len());
        this.ready.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Mended {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.raw).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.raw).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.raw).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.raw).poll_shutdown(cx)
    }
}

/// Tokio's reactor with another type of stream: the client takes no stream that its reactor does not know.
#[derive(Debug, Clone)]
struct MendingReactor(Tokio);

impl Reactor for MendingReactor {
    type TcpStream = Mended;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn would borrow from self, and the trait forbids that")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move { Ok(Mended::new(Box::new(TcpStream::connect(address).await?))) }
    }
}
