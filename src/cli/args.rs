//! The command line as clap reads it; its texts are what `--help` teaches.
#![expect(clippy::doc_markdown, reason = "these texts are read in a terminal, where backticks are noise")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::domain::report::Severity;
use crate::problem::did_you_mean;
use crate::simulate::Preset;
use crate::time::Span;

/// Follows security scans by ID and tells Slack, e-mail and webhooks what came out.
///
/// Try it without any account: `scanbell demo`. Then write a configuration, see what is wrong with it with
/// `scanbell check`, and start the daemon with `scanbell run`.
#[derive(Debug, Parser)]
#[command(name = "scanbell", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done · 1 done, and the answer is no · 2 wrong usage or configuration · \
    3/4/5 see `watch --help` · 69 something needed cannot be reached · 70 a bug")]
pub struct Cli {
    /// Configuration file [default: $SCANBELL_CONFIG, else config/scanbell.toml, else /etc/scanbell/scanbell.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: intake, polling, delivery, HTTP
    ///
    /// Stops on SIGTERM or SIGINT: takes nothing more, finishes or hands back what is in hand within
    /// shutdown.grace, exits 0. A second signal stops at once; nothing accepted is lost either way.
    Run,
    /// Show every problem in configuration, profiles, templates and rules
    ///
    /// Connects to nothing unless --online is given. Exit code 2 if there are problems.
    Check(CheckArgs),
    /// Hand scan IDs to a running daemon or to the broker
    #[command(after_help = "Examples:\n  scanbell submit 2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e --provider sieve\n  \
        scanbell submit ID --label team=platform --to secops --deadline 45m\n  scanbell submit ID --amqp\n  \
        scanbell submit '{\"scan_id\": \"ID\", \"labels\": {\"team\": \"platform\"}}'")]
    Submit(SubmitArgs),
    /// Follow one scan in the foreground and print its report; needs no daemon and no store
    #[command(after_help = "Exit codes: 0 finished · 3 a finding at or above --fail-on · \
        4 failed, unsupported or not found · 5 timed out · 69 the provider cannot be reached or refuses the key")]
    Watch(WatchArgs),
    /// Print the exact bytes that a destination would be sent
    Render(RenderArgs),
    /// Send one marked test message to a destination
    SendTest(SendTestArgs),
    /// Show which routes match a report, and why
    Explain(ExplainArgs),
    /// Look at scans
    #[command(subcommand)]
    Scans(ScansCommand),
    /// Look at deliveries, and send dead ones again
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// Run simulated scan APIs and recording destinations on loopback, for trying things
    #[command(after_help = "The last two digits of a scan's ID decide how it ends:\n  \
        00 threat · 01 clean · 02 suspicious · 03 failed · 04 error\n  \
        05 unsupported · 06 running-forever · 07 flaky · 08 not-found\n  \
        09 unknown-status · 0a hostile · 0b archive · 0c no-verdict\n\
        Anything else ends clean. What it prints is a configuration to try the daemon with:\n  \
        scanbell simulate > sim.toml &\n  scanbell run --config sim.toml &\n  \
        scanbell submit --config sim.toml 11111111-1111-4111-8111-111111111100")]
    Simulate(SimulateArgs),
    /// See all of it work in one process: six scans, real HTTP and SMTP on loopback, no accounts
    Demo(DemoArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print shell completions
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Ask the daemon of this configuration whether it is alive (for container health checks)
    #[command(hide = true)]
    Healthcheck,
}

/// `scanbell check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Also connect: store, broker, providers, destinations. Sends no message
    #[arg(long)]
    pub online: bool,
}

/// Where the daemon is.
#[derive(Debug, Args, Clone)]
pub struct DaemonArgs {
    /// The daemon's address [default: server.listen of the configuration]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `scanbell submit`
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Scan IDs, or requests in JSON: a string, an object, an array, a CloudEvent; `-` reads standard input, one a
    /// line or one JSON document
    #[arg(required_unless_present = "amqp", value_name = "ID")]
    pub ids: Vec<String>,
    /// The configured provider that runs the scans [default: the only one, or intake.default_provider]
    #[arg(long, short, value_name = "NAME")]
    pub provider: Option<String>,
    /// Tell these destinations instead of what the routes say (repeatable)
    #[arg(long = "to", value_name = "DESTINATION")]
    pub destinations: Vec<String>,
    /// A label for routes and templates (repeatable)
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// How long to follow, like 45m
    #[arg(long, value_parser = Span::parse)]
    pub deadline: Option<Span>,
    /// Announce again even if inside the dedupe window
    #[arg(long)]
    pub force: bool,
    /// Publish to the broker instead [default URL: amqp.url of the configuration]
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with = "url")]
    pub amqp: Option<String>,
    /// Where the daemon is.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `scanbell watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The provider's scan ID
    #[arg(value_name = "ID")]
    pub id: String,
    /// The configured provider [default: the only one, or intake.default_provider]
    #[arg(long, short, value_name = "NAME")]
    pub provider: Option<String>,
    /// Exit with 3 if the scan found something at or above this severity
    #[arg(long, value_name = "SEVERITY", value_parser = threshold)]
    pub fail_on: Option<Severity>,
    /// How long to follow [default: the provider's poll.deadline]
    #[arg(long, value_parser = Span::parse)]
    pub deadline: Option<Span>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `scanbell render`
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The destination's name
    pub destination: String,
    /// A report as JSON, `-` for standard input [default: a sample]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `scanbell send-test`
#[derive(Debug, Args)]
pub struct SendTestArgs {
    /// The destination's name
    pub destination: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `scanbell explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A report as JSON, `-` for standard input [default: a sample]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `scanbell scans`
#[derive(Debug, Subcommand)]
pub enum ScansCommand {
    /// List scans, newest first
    List(ScansListArgs),
    /// Show one scan with its report
    Show(ShowArgs),
}

/// `scanbell scans list`
#[derive(Debug, Args)]
pub struct ScansListArgs {
    /// following or finished
    #[arg(long)]
    pub state: Option<String>,
    /// Only of this provider
    #[arg(long)]
    pub provider: Option<String>,
    /// completed, failed, unsupported, not_found or timed_out
    #[arg(long)]
    pub outcome: Option<String>,
    /// Only with this ID of the provider
    #[arg(long)]
    pub scan_id: Option<String>,
    /// Page through the list.
    #[command(flatten)]
    pub page: PageArgs,
}

/// Which page of a list.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// From `next` of the page before
    #[arg(long)]
    pub cursor: Option<String>,
    /// Where the daemon is.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `scanbell scans show`, `scanbell deliveries show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id; for a scan also the provider's ID
    pub id: String,
    /// Where the daemon is.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `scanbell deliveries`
#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// List deliveries, newest first
    List(DeliveriesListArgs),
    /// Show one delivery with its attempts
    Show(ShowArgs),
    /// Send again: the same bytes under the same webhook-id
    Replay(ReplayArgs),
}

/// Which deliveries.
#[derive(Debug, Args)]
pub struct DeliveryFilterArgs {
    /// pending, delivered, dead or suppressed
    #[arg(long)]
    pub state: Option<String>,
    /// Only to this destination
    #[arg(long)]
    pub destination: Option<String>,
    /// Only of this scan (our id)
    #[arg(long)]
    pub scan: Option<String>,
}

/// `scanbell deliveries list`
#[derive(Debug, Args)]
pub struct DeliveriesListArgs {
    /// Which.
    #[command(flatten)]
    pub filter: DeliveryFilterArgs,
    /// Page through the list.
    #[command(flatten)]
    pub page: PageArgs,
}

/// `scanbell deliveries replay`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  scanbell deliveries replay 019a…\n  \
    scanbell deliveries replay --destination siem     (every dead one to it)\n  scanbell deliveries replay --all")]
pub struct ReplayArgs {
    /// Ids of deliveries
    #[arg(value_name = "ID", required_unless_present_any = ["state", "destination", "scan", "all"],
          conflicts_with_all = ["state", "destination", "scan", "all"])]
    pub ids: Vec<String>,
    /// Which; dead ones if no state is given.
    #[command(flatten)]
    pub filter: DeliveryFilterArgs,
    /// Every dead delivery
    #[arg(long)]
    pub all: bool,
    /// Where the daemon is.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `scanbell simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Address of the simulated HTTP services
    #[arg(long, default_value = "127.0.0.1:8643", value_name = "ADDR")]
    pub listen: std::net::SocketAddr,
    /// Address of the simulated mail server [default: port 2525 beside --listen]
    #[arg(long, value_name = "ADDR")]
    pub smtp: Option<std::net::SocketAddr>,
    /// How long a scan takes from its first poll
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = Span::parse)]
    pub takes: Span,
    /// Up to so much longer, spread by their IDs
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = Span::parse)]
    pub spread: Span,
    /// How every scan ends [default: as the end of its ID says]
    #[arg(long, value_name = "PRESET", value_parser = preset)]
    pub usual: Option<Preset>,
    /// Count what arrives instead of keeping it (for load runs)
    #[arg(long)]
    pub count_only: bool,
}

/// `scanbell demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Take the requests from this broker instead of over HTTP
    #[arg(long, value_name = "URL")]
    pub amqp: Option<String>,
    /// What to print at the end
    #[arg(long, value_enum, default_value_t = DemoOutput::Text)]
    pub output: DemoOutput,
}

/// How the demo's summary looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

fn preset(word: &str) -> Result<Preset, String> {
    let known = || Preset::ALL.into_iter().map(Preset::as_str);
    Preset::ALL.into_iter().find(|preset| preset.as_str() == word).ok_or_else(|| did_you_mean(word, known()))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

fn threshold(word: &str) -> Result<Severity, String> {
    match word.parse() {
        Ok(severity) if severity > Severity::None => Ok(severity),
        _ => Err("it is low, medium, high or critical".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_is_read_before_and_after_the_command() {
        for args in [["scanbell", "--config", "a.toml", "run"], ["scanbell", "run", "--config", "a.toml"]] {
            assert_eq!(Cli::parse_from(args).config, Some(PathBuf::from("a.toml")));
        }
    }

    #[test]
    fn the_help_of_the_simulator_names_every_end_of_a_scan_with_its_digits() {
        let mut command = Cli::command();
        let help = command.find_subcommand_mut("simulate").unwrap().render_long_help().to_string();
        for (number, preset) in Preset::ALL.iter().enumerate() {
            assert!(help.contains(&format!("{number:02x} {}", preset.as_str())), "{preset:?}: {help}");
        }
    }

    #[test]
    fn a_replay_needs_to_know_what() {
        assert!(Cli::try_parse_from(["scanbell", "deliveries", "replay"]).is_err());
        assert!(Cli::try_parse_from(["scanbell", "deliveries", "replay", "--all"]).is_ok());
        assert!(Cli::try_parse_from(["scanbell", "deliveries", "replay", "x", "--all"]).is_err());
    }
}
