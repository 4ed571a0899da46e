//! A listener whose connections can be broken from inside a handler: dropped, reset, or answered with garbage.
//!
//! HTTP is spoken by axum as everywhere; only the socket underneath knows how to misbehave.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What is said instead of HTTP.
const GARBAGE: &[u8] = b"\x00\xff\x16SIMULATED\x07 this is not HTTP\r\n\r\n\x80\x81";

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    /// As HTTP ends it.
    Well = 0,
    /// Closed instead of the next byte.
    Dropped = 1,
    /// Reset instead of the next byte.
    Reset = 2,
    /// Garbage instead of the next byte, then closed.
    Garbage = 3,
}

/// A handler's hold on its own connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Plug(Arc<AtomicU8>);

impl Plug {
    /// From now on the connection has this fate.
    pub(super) fn pull(&self, fate: Fate) {
        self.0.store(fate as u8, Ordering::SeqCst);
    }

    fn fate(&self) -> Fate {
        match self.0.load(Ordering::Relaxed) {
            1 => Fate::Dropped,
            2 => Fate::Reset,
            3 => Fate::Garbage,
            _ => Fate::Well,
        }
    }
}

impl Connected<IncomingStream<'_, Socket>> for Plug {
    fn connect_info(stream: IncomingStream<'_, Socket>) -> Self {
        stream.io().plug.clone()
    }
}

/// A TCP listener that hands out [`Line`]s.
pub(super) struct Socket {
    listener: TcpListener,
    cut: CancellationToken,
}

impl Socket {
    /// `cut` ends every connection, whatever it is doing.
    pub(super) fn new(listener: TcpListener, cut: CancellationToken) -> Self {
        Self { listener, cut }
    }
}

impl Listener for Socket {
    type Io = Line;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Line, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers must not wait for more to say.
                    let _ = stream.set_nodelay(true);
                    let cut = Box::pin(self.cut.clone().cancelled_owned());
                    return (Line { stream, plug: Plug::default(), cut }, peer);
                }
                // Out of file descriptors, most likely: others will be freed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// One connection.
pub(super) struct Line {
    stream: TcpStream,
    plug: Plug,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Line {
    /// Does to the connection what it has been condemned to.
    fn condemned(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.plug.fate() {
            Fate::Well => return Poll::Ready(Ok(())),
            Fate::Dropped => {}
            Fate::Reset => drop(self.stream.set_zero_linger()),
            Fate::Garbage => {
                let _ = ready!(Pin::new(&mut self.stream).poll_write(cx, GARBAGE));
            }
        }
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Somebody who neither reads nor writes must not keep the world from ending.
    fn unless_cut<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match done {
            Poll::Pending => self.cut.as_mut().poll(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
            done @ Poll::Ready(_) => done,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.unless_cut(cx, read)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.condemned(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_cut(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.condemned(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_cut(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.plug.fate() == Fate::Reset {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.plug.fate() == Fate::Reset {
            let _ = self.stream.set_zero_linger();
        }
    }
}
