//! Which addresses may be called (SSRF guard), and the resolver that asks it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Which addresses may be called (SSRF guard). Public ones always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// Everything may be called.
    pub allow_private: bool,
    /// These ranges may be called too.
    pub allow_cidrs: Vec<IpNet>,
    /// Loopback may be called: the configuration names it itself.
    pub allow_loopback: bool,
}

impl Guard {
    /// Whether this address may be called.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.check(address).is_ok()
    }

    /// Why this address may not be called. An IPv4 address in IPv6 clothes is judged as what it is.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Blocked> {
        let real = unwrapped(address);
        let listed = |address: &IpAddr| self.allow_cidrs.iter().any(|range| range.contains(address));
        if self.allow_private || listed(&address) || listed(&real) {
            return Ok(());
        }
        match special(real) {
            None => Ok(()),
            Some("loopback") if self.allow_loopback => Ok(()),
            Some(range) => Err(Blocked { address, range }),
        }
    }

    /// The check of a URL that names an address itself: the resolver never sees those.
    pub(super) fn check_host(&self, host: Option<&Host<&str>>) -> Result<(), Blocked> {
        match host {
            Some(Host::Ipv4(address)) => self.check((*address).into()),
            Some(Host::Ipv6(address)) => self.check((*address).into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// The guard's refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    address: IpAddr,
    range: &'static str,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is a {} address and must not be called; `allow_private = true` or `allow_cidrs` would allow it",
            self.address, self.range
        )
    }
}

impl std::error::Error for Blocked {}

/// The IPv4 address inside v4-mapped, v4-compatible, NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`) addresses.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let low = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address, // :: and ::1 are their own
        [0, 0, 0, 0, 0, 0 | 0xffff, g, h] | [0, 0, 0, 0, 0xffff, 0, g, h] | [0x64, 0xff9b, 0, 0, 0, 0, g, h] => {
            low(g, h)
        }
        [0x2002, b, c, ..] => low(b, c),
        _ => address,
    }
}

/// The name of the special range an address is in; `None` is public.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

/// IANA IPv4 Special-Purpose Address Registry, as far as it is not globally reachable.
fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "unspecified",
        [127, ..] => "loopback",
        [169, 254, 169, 254] | [168, 63, 129, 16] | [100, 100, 100, 200] => "cloud metadata",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [169, 254, ..] => "link-local",
        [100, 64..=127, ..] => "shared (CGNAT)",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [198, 18..=19, ..] => "benchmark",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => "reserved",
        _ => return None,
    })
}

/// IANA IPv6 Special-Purpose Address Registry, as far as it is not globally reachable.
fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => "cloud metadata",
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "documentation",
        [0x64, 0xff9b, 1, ..] => "local translation",
        [0x2001, 0, ..] => "Teredo",
        [0x2001, 0x1..=0x1ff, ..] => "reserved",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved", // only 2000::/3 is given out for the internet
    })
}

/// Resolves names and keeps only what the guard allows.
///
/// It is asked for each new connection, and the connection goes to what it answered: a name that answers with a
/// public address first and a private one later is refused when it does.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver {
    pub(super) guard: Option<Guard>,
    pub(super) names: Names,
}

/// Who knows the addresses of names.
#[derive(Debug, Clone)]
pub(super) enum Names {
    /// The operating system.
    System,
    /// A test: one answer for each question, the last for ever.
    #[cfg(test)]
    Told(std::sync::Arc<std::sync::Mutex<Vec<Vec<IpAddr>>>>),
}

impl Names {
    async fn of(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(test)]
            Self::Told(answers) => {
                let mut answers = answers.lock().unwrap();
                let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
                Ok(answer.into_iter().map(|address| SocketAddr::new(address, port)).collect())
            }
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let allowed = this.lookup(name.as_str(), 0).await?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl GuardedResolver {
    /// The addresses of a name that may be called; the refusal where there are only others.
    pub(super) async fn lookup(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in self.names.of(host, port).await? {
            match self.guard.as_ref().map_or(Ok(()), |guard| guard.check(address.ip())) {
                Ok(()) => allowed.push(address),
                Err(blocked) => refused = Some(blocked),
            }
        }
        match refused {
            Some(blocked) if allowed.is_empty() => Err(blocked.into()),
            _ => Ok(allowed),
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
