//! A ready configuration for a running world: paste it into a file, and `scanbell run --config` has all it needs.

use super::World;

/// The secret of the hook `siem`. Everybody may know it: it protects nothing.
pub const HOOK_SECRET: &str = "whsec_c2ltdWxhdGVkLXNlY3JldC1ub2JvZHktbmVlZHM=";
/// Who the simulated mail goes to.
pub const MAIL_TO: &str = "oncall@example.com";

/// TOML for `--config`: both providers and one destination of each kind, all of them in this world.
///
/// The database is a file in the current directory, beside a real one and not in its place.
pub fn configuration(world: &World) -> String {
    let (url, smtp, key) = (world.url(), world.smtp_url(), "simulated");
    format!(
        r#"# For `scanbell run --config FILE` against the simulator that printed this.

[store]
url = "sqlite:scanbell-simulated.db"

[intake]
default_provider = "sieve"

[providers.sieve]
base_url = "{url}"
api_key = "{key}"
poll = {{ first = "200ms", growth = 1.5, max = "1s", deadline = "30s", not_found_grace = "3s" }}

[providers.enkrypt]
base_url = "{url}"
api_key = "{key}"
poll = {{ first = "200ms", growth = 1.5, max = "1s", deadline = "30s", not_found_grace = "3s" }}

[destinations.secops]
kind = "slack"
webhook_url = "{url}/services/T00000000/B00000000/secops"

[destinations.oncall]
kind = "email"
smtp = "{smtp}"
tls = "none"
from = "Scanbell <scanbell@example.com>"
to = ["{MAIL_TO}"]

[destinations.siem]
kind = "webhook"
url = "{url}/hooks/siem"
signing_secret = "{HOOK_SECRET}"

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
