//! A TCP relay before the broker that takes connections when it is told to, and can cut them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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
