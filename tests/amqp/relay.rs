//! A TCP relay before the broker that takes connections when it is told to, and can cut them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

/// Ends with its owner.
pub struct Relay {
    pub address: SocketAddr,
    state: Arc<watch::Sender<(bool, u64)>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Relays to `target`, at once if `up`.
    pub async fn to(target: SocketAddr, up: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::channel((up, 0)).0);
        let mut tasks = JoinSet::new();
        let seen = state.clone();
        tasks.spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let mut changes = seen.subscribe();
                if changes.borrow_and_update().0 {
                    pairs.spawn(async move {
                        tokio::select! {
                            _ = changes.changed() => {}
                            () = pump(client, target) => {}
                        }
                    });
                }
            }
        });
        Self { address, state, _tasks: tasks }
    }

    /// Relays to `target`, but keeps the first `basic.consume` to itself and answers it: the client believes that it
    /// consumes, the broker knows nothing of it.
    pub async fn forgetful(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::channel((true, 0)).0);
        let mut tasks = JoinSet::new();
        let forgets = Arc::new(AtomicBool::new(true));
        tasks.spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target).await.unwrap();
                pairs.spawn(forget(client, server, forgets.clone()));
            }
        });
        Self { address, state, _tasks: tasks }
    }

    /// Takes connections from now on.
    pub fn up(&self) {
        self.state.send_modify(|state| *state = (true, state.1 + 1));
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        self.up();
    }
}

async fn pump(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

async fn forget(client: TcpStream, server: TcpStream, forgets: Arc<AtomicBool>) {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let to_client = Arc::new(Mutex::new(to_client));
    let answers = to_client.clone();
    let back = async move {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if answers.lock().await.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let forth = async move {
        let mut greeting = [0; 8];
        from_client.read_exact(&mut greeting).await?;
        to_server.write_all(&greeting).await?;
        loop {
            let mut frame = vec![0; 7];
            from_client.read_exact(&mut frame).await?;
            let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]) as usize;
            frame.resize(7 + size + 1, 0);
            from_client.read_exact(&mut frame[7..]).await?;
            let is_consume = frame[0] == 1 && frame[7..].starts_with(&[0, 60, 0, 20]);
            if is_consume && forgets.swap(false, Ordering::Relaxed) {
                let ok = [&[1, frame[1], frame[2], 0, 0, 0, 9, 0, 60, 0, 21, 4][..], b"none", &[0xce]].concat();
                to_client.lock().await.write_all(&ok).await?;
            } else {
                to_server.write_all(&frame).await?;
            }
        }
        #[expect(unreachable_code, reason = "names the error's type")]
        std::io::Result::Ok(())
    };
    tokio::select! {
        () = back => {}
        _ = forth => {}
    }
}
