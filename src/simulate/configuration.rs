//! A ready configuration for a running world, and what a person at a terminal needs to know of it.
//!
//! Paste the one into a file, and `scanbell run --config` has all it needs.

use std::fmt::Write as _;

use super::{Preset, World};

/// The secret of the hook `siem`, unless the options say otherwise. It protects nothing: everybody may know it.
pub const HOOK_SECRET: &str = "whsec_c2ltdWxhdGVkLXNlY3JldC1ub2JvZHktbmVlZHM=";
/// Who the simulated mail goes to.
pub const MAIL_TO: &str = "oncall@example.com";

/// TOML for `--config`: both providers and one destination of each kind, all of them in this world.
///
/// The database is a file in the current directory, beside a real one and not in its place.
pub fn configuration(world: &World) -> String {
    let (url, smtp, login) = (world.url(), quoted(&world.smtp_url()), login(world));
    let (sieve_key, enkrypt_key) = keys(world);
    let secret = world.inner.secrets("siem").and_then(|secrets| secrets.into_iter().next());
    let secret = secret.map(|secret| format!("signing_secret = {}\n", quoted(&secret))).unwrap_or_default();
    format!(
        r#"# For `scanbell run --config FILE` against the simulator that printed this.

[store]
url = "sqlite:scanbell-simulated.db"

[intake]
default_provider = "sieve"

[providers.sieve]
base_url = "{url}"
api_key = {sieve_key}
poll = {{ first = "200ms", growth = 1.5, max = "1s", deadline = "30s", not_found_grace = "3s" }}

[providers.enkrypt]
base_url = "{url}"
api_key = {enkrypt_key}
poll = {{ first = "200ms", growth = 1.5, max = "1s", deadline = "30s", not_found_grace = "3s" }}

[destinations.secops]
kind = "slack"
webhook_url = "{url}/services/T00000000/B00000000/secops"

[destinations.oncall]
kind = "email"
smtp = {smtp}
tls = "none"
{login}from = "Scanbell <scanbell@example.com>"
to = ["{MAIL_TO}"]

[destinations.siem]
kind = "webhook"
url = "{url}/hooks/siem"
{secret}
[[routes]]
name = "threats to people"
when = 'verdict == "threat" || severity >= high'
to = ["secops", "oncall"]

[[routes]]
name = "everything to the SIEM"
to = ["siem"]
"#
    )
}

/// The accepted keys, quoted; where none is accepted, one that is refused.
fn keys(world: &World) -> (String, String) {
    let keys = world.inner.keys();
    let first = |keys: &[String]| quoted(keys.first().map_or("none", String::as_str));
    (first(&keys.sieve), first(&keys.enkrypt))
}

fn login(world: &World) -> String {
    match &world.inner.smtp_login {
        Some((user, password)) => format!("username = {}\npassword = {}\n", quoted(user), quoted(password)),
        None => String::new(),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// How to use it by hand, a few lines for a terminal.
pub fn guide(world: &World) -> String {
    let url = world.url();
    let mut ends = String::new();
    for (number, preset) in Preset::ALL.into_iter().enumerate() {
        let _ = write!(ends, "{}{number:02x} {}", if number == 0 { "" } else { ", " }, preset.as_str());
    }
    let id = "5ca17e57-0000-4000-8000-0000000000";
    format!(
        "Sieve and Enkrypt answer at {url}, mail is taken at {smtp}.\n\
         The last two digits of a scan ID say how it ends: {ends}; any other ends clean.\n\
         \n\
         scanbell submit {id}00                 ask for a threat\n\
         curl '{url}/_sim/received?kind=slack'  who was told what (slack, webhook, email)\n\
         curl {url}/_sim/polls                  who was asked how often\n\
         curl -X PUT {url}/_sim/scans/sieve/{id}42 -d '{{\"preset\":\"threat\",\"after_ms\":5000}}'\n\
         curl -X PUT {url}/_sim/destinations/siem -d '{{\"answers\":[{{\"status\":503,\"repeat\":3}}]}}'\n",
        smtp = world.smtp_url(),
    )
}
