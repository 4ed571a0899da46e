//! Logs on standard error: one line per event, for people or for collectors.
//!
//! `RUST_LOG` is not read: the configuration's `[log] filter` is the one place. What other crates tell is kept at
//! `warn` unless the filter names them. A line end inside a value is written as `\n`, and so is everything else
//! that could forge a line or steer a terminal: IDs and providers' answers are hostile.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, registry};

use crate::problem::{Problem, did_you_mean};
use crate::time::Clock;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The words for how much is told.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// Crates that tell more than an operator asked for.
const NOISY: [&str; 9] =
    ["hyper", "hyper_util", "h2", "rustls", "reqwest", "lettre", "tower_http", "handlebars", "mio"];

/// Crates whose every line is somebody's message (lapin logs bodies that come back, and what it cannot parse): what
/// matters of them is logged by us.
const INDISCREET: [&str; 2] = ["lapin", "amq_protocol"];

/// Starts logging to standard error. In a process that logs already (a test) nothing changes.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), Problem> {
    let filter = parse(filter).map_err(|(fact, hint)| Problem::new("[log] filter", fact).hint(hint))?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let _already = subscriber(format, filter, io::stderr, colours).try_init();
    Ok(())
}

/// Whether `filter` can be used; `place` is where it was written.
pub fn check_filter(filter: &str, place: &str) -> Result<(), Problem> {
    parse(filter).map(|_| ()).map_err(|(fact, hint)| Problem::new(place, fact).hint(hint))
}

/// The filter with the noisy crates kept down, or fact and way out.
fn parse(filter: &str) -> Result<EnvFilter, (String, String)> {
    let write_it = "write it like \"info\" or \"info,scanbell::deliver=debug\"".to_owned();
    let parts: Vec<&str> = filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(("the filter is empty".to_owned(), write_it));
    }
    // The parser would take `inof` for the name of a crate, and then nothing would be logged at all.
    if let Some(word) = parts.iter().find(|part| is_bare(part) && !is_level(part)) {
        let hint = format!("{}; for a part of the program write `{word}=debug`", did_you_mean(word, LEVELS));
        return Err((format!("`{word}` is not a level"), hint));
    }
    let parsed = EnvFilter::builder().with_regex(false).parse(filter);
    let parsed = parsed.map_err(|_| ("this is not a log filter".to_owned(), write_it))?;
    Ok(quieted(parsed, filter))
}

fn is_bare(part: &str) -> bool {
    !part.contains(['=', '[']) && !part.contains("::")
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

fn quieted(mut filter: EnvFilter, text: &str) -> EnvFilter {
    for name in INDISCREET.iter().filter(|name| !text.contains(**name)) {
        if let Ok(directive) = format!("{name}=off").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let tells_more_than_warnings = filter.max_level_hint().is_none_or(|level| level > LevelFilter::WARN);
    if tells_more_than_warnings {
        for name in NOISY.iter().filter(|name| !text.contains(**name)) {
            if let Ok(directive) = format!("{name}=warn").parse() {
                filter = filter.add_directive(directive);
            }
        }
    }
    filter
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, writer: W, colours: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A closed standard error must not bring the daemon down: failed writes are not reported to it either.
    let base = layer().with_timer(Now).log_internal_errors(false);
    let output = match format {
        LogFormat::Text => {
            let fields = debug_fn(write_field).delimited(" ");
            base.with_ansi(colours).with_writer(writer).fmt_fields(fields).compact().boxed()
        }
        LogFormat::Json => base.with_ansi(false).with_writer(writer).json().flatten_event(true).boxed(),
    };
    registry().with(filter).with(filter_fn(is_discreet)).with(output)
}

/// Whether an event may be written whatever the filter says: at `trace`, the broker's client writes down what it
/// signs in with.
fn is_discreet(event: &Metadata<'_>) -> bool {
    *event.level() < LevelFilter::TRACE || !INDISCREET.iter().any(|name| event.target().starts_with(name))
}

/// The time in milliseconds; more digits help nobody.
struct Now;

impl FormatTime for Now {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:.3}", Clock::real().now())
    }
}

/// Writes `message field=value …`, harmless on a terminal.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(Harmless(writer), "{value:?}"),
        // What the `log` crate says about itself is in the event's own target and level.
        name if name.starts_with("log.") => Ok(()),
        name => {
            let (dim, plain) = if writer.has_ansi_escapes() { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
            write!(writer, "{dim}{name}={plain}")?;
            write!(Harmless(writer), "{value:?}")
        }
    }
}

/// Escapes what would end the line, steer the terminal or turn the direction of writing.
struct Harmless<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Harmless<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                write!(self.0, "{}", letter.escape_default())?;
            } else {
                self.0.write_char(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use std::io::Write;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, events: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(format, parse(filter).unwrap(), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, events);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_hostile_value_stays_on_its_line_and_writes_no_escape() {
        let text = logged(LogFormat::Text, "info", || {
            tracing::info!(scan.id = %"x\n2026-01-01 ERROR forged\r\u{1b}[31m", "scan finished");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.ends_with(": scan finished scan.id=x\\n2026-01-01 ERROR forged\\r\\u{1b}[31m\n"), "{text}");
    }

    #[test]
    fn json_lines_carry_the_dotted_fields_at_the_top() {
        let text = logged(LogFormat::Json, "info", || tracing::warn!(provider.name = "sieve", "paused"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["provider.name"], "sieve");
        assert_eq!(line["message"], "paused");
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn other_crates_are_kept_at_warn_unless_the_filter_names_them() {
        let noise = || {
            tracing::debug!(target: "hyper::proto", "noise");
            tracing::warn!(target: "lettre", "trouble");
            tracing::error!(target: "lapin::channel", "somebody's message");
            tracing::debug!(target: "scanbell::watch", "decision");
        };
        let text = logged(LogFormat::Text, "debug", noise);
        assert!(!text.contains("noise") && text.contains("trouble") && text.contains("decision"), "{text}");
        assert!(!text.contains("message"), "{text}");
        assert!(logged(LogFormat::Text, "info,hyper=debug", noise).contains("noise"));
        assert_eq!(logged(LogFormat::Text, "off", noise), "");
        assert_eq!(logged(LogFormat::Text, "error", noise), "");
        assert!(logged(LogFormat::Text, "info,lapin=error", noise).contains("message"));
    }

    #[test]
    fn what_the_brokers_client_signs_in_with_is_not_logged_even_where_the_filter_asks_for_it() {
        let noise = || {
            tracing::trace!(target: "lapin::io_loop", "will write StartOk hunter2");
            tracing::debug!(target: "lapin::io_loop", "fine");
        };
        for filter in ["trace,lapin=trace", "lapin::io_loop=trace", "trace,lapin[{message}]=trace"] {
            assert!(!logged(LogFormat::Text, filter, noise).contains("hunter2"), "{filter}");
        }
        assert!(logged(LogFormat::Text, "lapin=trace", noise).contains("fine"));
    }

    #[test]
    fn a_mistyped_level_is_a_problem_and_not_silence() {
        let said = |filter| check_filter(filter, "a.toml:3: [log] filter").unwrap_err().to_string();
        insta::assert_snapshot!(said("inof"), @r"
        a.toml:3: [log] filter: `inof` is not a level
            did you mean `info`? known: debug, error, info, off, trace, warn; for a part of the program write `inof=debug`
        ");
        insta::assert_snapshot!(said("scanbell=loud"), @r#"
        a.toml:3: [log] filter: this is not a log filter
            write it like "info" or "info,scanbell::deliver=debug"
        "#);
        assert!(said(" ").contains("empty"));
        for good in ["info", "WARN", "scanbell=debug", "info,scanbell::deliver=trace", "off"] {
            check_filter(good, "").unwrap();
        }
    }
}
