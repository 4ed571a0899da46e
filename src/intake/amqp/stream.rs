//! The stream under the client: TCP or TLS as the client makes it, with every frame mended on the way in.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::{DummyIO, RuntimeParts};
use async_rs::{Runtime, Tokio};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

use super::frames::Mender;

type Tcp = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;
/// How much is read at once.
const CHUNK: usize = 32 * 1024;

/// Connects as the client does, but over a stream that mends what comes.
pub(super) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    tls: OwnedTLSConfig,
) -> lapin::Result<Connection> {
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), Mending(tokio.clone())));
    let connect = async move |uri: AMQPUri, _| {
        let plain = Runtime::new(tokio.clone());
        let stream = AMQPUriTcpExt::connect_with_config_async(&uri, tls.as_ref(), &plain).await?;
        Ok(AsyncTcpStream::Plain(Mended::new(stream)))
    };
    Connection::connector(uri, runtime, connect, properties).await
}

/// Tokio's reactor, but for the type of its streams.
#[derive(Debug, Clone)]
struct Mending(Tokio);

impl Reactor for Mending {
    type TcpStream = Mended<Tcp>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // The client connects by the function that it is given.
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Mended::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// A stream of which every frame is mended before it is read.
struct Mended<S> {
    stream: S,
    mender: Mender,
    /// As it came, one read at a time.
    chunk: Box<[u8]>,
    /// Mended, of which so much was read.
    ready: Vec<u8>,
    read: usize,
}

impl<S> Mended<S> {
    fn new(stream: S) -> Self {
        let chunk = vec![0; CHUNK].into_boxed_slice();
        Self { stream, mender: Mender::default(), chunk, ready: Vec::new(), read: 0 }
    }

    /// As much of what is ready as there is room for.
    fn hand_out(&mut self, buffer: &mut [u8]) -> usize {
        let waiting = self.ready.get(self.read..).unwrap_or_default();
        let count = waiting.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), waiting.get(..count)) {
            to.copy_from_slice(from);
        }
        self.read += count;
        if self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
        }
        count
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let count = this.hand_out(buffer);
            if count > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(count));
            }
            let came = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut this.chunk))?;
            if came == 0 {
                this.ready = this.mender.rest();
                return Poll::Ready(Ok(this.hand_out(buffer)));
            }
            this.mender.feed(this.chunk.get(..came).unwrap_or_default(), &mut this.ready);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
