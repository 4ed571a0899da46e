//! Takes connections and serves them. Beside `axum::serve` for one reason: a time-out for the head of a request, so
//! that whoever sends half a request holds neither a connection for ever nor the end of the daemon for its grace.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The head of a request has to be there within this; an idle connection is closed after it.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// After an error that accepting runs into again at once (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(500);
/// The way out of it.
const LIMIT: &str = "; raise the limit of open files (`ulimit -n`, LimitNOFILE), or lower the concurrency of providers \
                     and destinations";

/// Serves until `stop`, then answers what is being asked, and returns.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_patiently(listener, router, stop, HEAD_WITHIN).await;
}

async fn serve_patiently(listener: TcpListener, router: Router, stop: CancellationToken, head_within: Duration) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_within);
    let (open, connections) = (GracefulShutdown::new(), TaskTracker::new());
    while let Some(stream) = stop.run_until_cancelled(accept(&listener)).await {
        let service = TowerToHyperService::new(router.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended before its answer");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// The next connection; errors are of the client's making or pass.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                let way_out = if is_the_limit(&error) { LIMIT } else { "" };
                tracing::warn!(%error, "cannot take a connection; trying again{way_out}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// No file descriptors left, in the process or on the machine.
fn is_the_limit(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A served router and the address to ask at.
    async fn served(stop: &CancellationToken, tasks: &TaskTracker) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        tasks.spawn(serve_patiently(listener, router, stop.clone(), Duration::from_millis(50)));
        address
    }

    async fn sent(address: std::net::SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn all_of(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn half_a_request_holds_neither_the_connection_nor_the_end() {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let address = served(&stop, &tasks).await;
        let half = sent(address, b"GET / HTTP/1.1\r\nHost: x\r\nX-").await;
        let whole = sent(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(all_of(whole).await.ends_with("here"), "another client is served meanwhile");
        assert!(!all_of(half).await.contains("200 OK"), "it is closed");
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
