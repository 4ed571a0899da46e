//! What went wrong with TLS, in a sentence that ends with the way out.

use std::error::Error;

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};

/// The fact and the way out, if a TLS error is among the causes.
pub fn tls_trouble(error: &(dyn Error + 'static)) -> Option<String> {
    find::<Tls>(&causes(error)).map(sentence)
}

fn sentence(error: &Tls) -> String {
    match way_out(error) {
        Some(hint) => format!("TLS failed: {error}; {hint}"),
        None => format!("TLS failed: {error}"),
    }
}

/// What a person can do about it. A peer that wants a certificate of ours says so by an alert.
fn way_out(error: &Tls) -> Option<&'static str> {
    match error {
        Tls::InvalidCertificate(bad) => about_theirs(bad),
        Tls::NoCertificatesPresented => Some("the server shows no certificate: mend the server"),
        Tls::AlertReceived(Alert::CertificateRequired) => {
            Some("the server wants a client certificate: set `cert_file` and `key_file`")
        }
        Tls::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => Some("the server does not accept our client certificate: look at `cert_file` and `key_file`"),
        Tls::AlertReceived(Alert::HandshakeFailure) => {
            Some("the server wants a client certificate (`cert_file`, `key_file`) or speaks no cipher that is safe")
        }
        Tls::AlertReceived(Alert::UnrecognisedName) => Some("the server does not know this name: look at the URL"),
        Tls::InvalidMessage(_) => Some("no TLS is spoken there: look at port and scheme of the URL"),
        Tls::PeerIncompatible(_) | Tls::AlertReceived(Alert::ProtocolVersion) => {
            Some("the server must speak TLS 1.2 or newer")
        }
        _ => None,
    }
}

/// Why the server's certificate is not believed.
fn about_theirs(bad: &Bad) -> Option<&'static str> {
    match bad {
        Bad::UnknownIssuer | Bad::BadSignature => Some("name the CA that signed the server's certificate as `ca_file`"),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            Some("use a name in the URL that the server's certificate is for")
        }
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            Some("renew the server's certificate, or set the clock of this machine")
        }
        Bad::Other(_) => Some("make the server a certificate of its own (not that of a CA), signed by a CA"),
        _ => None,
    }
}

/// The first of the causes that is of this type.
pub(super) fn find<'a, E: Error + 'static>(causes: &[&'a (dyn Error + 'static)]) -> Option<&'a E> {
    causes.iter().find_map(|cause| cause.downcast_ref())
}

/// The error and all that is behind it. An I/O error hides what it wraps from `source`, so look inside.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inside.map_or_else(|| cause.source(), |inside| Some(inside as &(dyn Error + 'static)));
    }
    causes
}
