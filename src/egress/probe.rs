//! Whether a URL's server can be reached: name, connection and TLS, without a request.

use std::error::Error;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::guard::Blocked;
use super::handshake::tls_trouble;
use super::{Client, Failure, SendError};

/// How long a server that does not like our certificate may take to say so.
const SECOND_THOUGHTS: Duration = Duration::from_millis(500);

impl Client {
    /// Connects as for a request, guard and TLS included, sends nothing, and hangs up.
    pub async fn probe(&self, url: &url::Url) -> Result<(), SendError> {
        self.check(url)?;
        let late = |_| SendError::new(Failure::Connect, "no connection in time");
        tokio::time::timeout(self.connect_timeout, self.handshake(url)).await.map_err(late)?
    }

    async fn handshake(&self, url: &url::Url) -> Result<(), SendError> {
        // Brackets are how a URL writes an IPv6 address; nobody else does.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(443);
        let addresses = self.resolver.lookup(host, port).await.map_err(|error| {
            let failure = if error.is::<Blocked>() { Failure::BlockedAddress } else { Failure::Connect };
            SendError::new(failure, error.to_string())
        })?;
        let refused = |error: std::io::Error| SendError::new(Failure::Connect, format!("no connection: {error}"));
        let socket = TcpStream::connect(addresses.as_slice()).await.map_err(refused)?;
        if url.scheme() == "https" {
            let failed = |error: &(dyn Error + 'static)| {
                let trouble = tls_trouble(error).unwrap_or_else(|| format!("TLS failed: {error}"));
                SendError::new(Failure::Tls, trouble)
            };
            let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
            let connector = TlsConnector::from(self.tls.config.clone());
            let mut stream = connector.connect(name, socket).await.map_err(|error| failed(&error))?;
            // TLS 1.3: a server that wants a certificate of ours says so only after our side of the handshake.
            if let Ok(Err(error)) = tokio::time::timeout(SECOND_THOUGHTS, stream.read(&mut [0])).await
                && tls_trouble(&error).is_some()
            {
                return Err(failed(&error));
            }
        }
        Ok(())
    }
}
