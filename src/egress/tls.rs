//! TLS for everything outgoing: one crypto provider, the system's certificates, private CAs, client certificates.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsFiles;
use crate::problem::{Problem, Problems};

/// Makes *ring* the process's crypto provider; again does nothing. To be called before any TLS.
pub fn install_tls() {
    // An error says that somebody was first, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a TLS connection is made with.
#[derive(Debug, Clone)]
pub struct TlsSetup {
    /// Trust and identity; no ALPN set.
    pub config: Arc<ClientConfig>,
    /// Not one certificate is trusted: every handshake would fail. Plain connections still work.
    pub no_roots: bool,
}

impl TlsSetup {
    /// What to say where [`TlsSetup::no_roots`] is in the way.
    pub const NO_ROOTS: &str = "this system has no CA certificates: install the package ca-certificates, \
                                set SSL_CERT_FILE, or name a ca_file";
}

/// Reads the PEM files; every one that cannot be used is a problem at `place`.
pub fn tls_config(place: &str, files: &TlsFiles) -> Result<TlsSetup, Problems> {
    install_tls();
    let mut problems = Problems::new();
    let mut roots = Arc::clone(system_roots());
    if let Some(path) = &files.ca_file {
        for certificate in problems.collect(certificates(place, "ca_file", path)).unwrap_or_default() {
            if let Err(error) = Arc::make_mut(&mut roots).add(certificate) {
                problems.push(Problem::new(place, format!("`ca_file` {}: {error}", path.display())));
            }
        }
    }
    let no_roots = roots.is_empty();
    let identity = problems.collect(identity(place, files)).flatten();
    if !problems.is_empty() {
        return Err(problems);
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            Problem::new(place, format!("`cert_file` and `key_file` cannot be used: {error}"))
                .hint("the key must be the one the first certificate was made for")
        })?,
    };
    Ok(TlsSetup { config: Arc::new(config), no_roots })
}

/// The system's certificates (`SSL_CERT_FILE` is honoured), read once and shared.
fn system_roots() -> &'static Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    })
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(place: &str, files: &TlsFiles) -> Result<Option<Identity>, Problems> {
    let (cert_file, key_file) = match (&files.cert_file, &files.key_file) {
        (None, None) => return Ok(None),
        (Some(cert_file), Some(key_file)) => (cert_file, key_file),
        (Some(_), None) => return Err(lonely(place, "cert_file", "key_file")),
        (None, Some(_)) => return Err(lonely(place, "key_file", "cert_file")),
    };
    let mut problems = Problems::new();
    let chain = problems.collect(certificates(place, "cert_file", cert_file));
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| Problems::from(unreadable(place, "key_file", key_file, &error)));
    let key = problems.collect(key);
    problems.into_result(chain.zip(key))
}

fn lonely(place: &str, there: &str, missing: &str) -> Problems {
    Problem::new(place, format!("`{there}` is set and `{missing}` is not")).hint(format!("add `{missing}`")).into()
}

fn certificates(place: &str, key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Problems> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(Problem::new(place, format!("`{key}` {} holds no certificate", path.display()))
                .hint("it must be PEM: -----BEGIN CERTIFICATE-----")
                .into())
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(place, key, path, &error).into()),
    }
}

fn unreadable(place: &str, key: &str, path: &Path, error: &rustls_pki_types::pem::Error) -> Problem {
    let why = match error {
        rustls_pki_types::pem::Error::Io(error) => error.to_string(),
        rustls_pki_types::pem::Error::NoItemsFound => "no key in it".to_owned(),
        _ => "not PEM".to_owned(),
    };
    Problem::new(place, format!("`{key}` {} cannot be read: {why}", path.display()))
}
