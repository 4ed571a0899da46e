//! Printing: JSON for programs, tables for people, and never a panic on a closed pipe.

use std::io::{self, Write};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::failure::{Done, Failure};

/// Writes one line to stdout. A reader that went away ends the output, not the command.
pub fn line(text: impl AsRef<str>) -> Done {
    bytes(format!("{}\n", text.as_ref()).as_bytes())
}

/// Writes bytes to stdout as they are.
pub fn bytes(bytes: &[u8]) -> Done {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one line to stderr. Nobody may be reading there any more; `eprintln!` would panic then.
pub fn note(text: impl AsRef<str>) {
    let _nobody_reads = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Writes a value as indented JSON.
pub fn json(value: &impl Serialize) -> Done {
    line(serde_json::to_string_pretty(value).map_err(|error| Failure::Bug(error.to_string()))?)
}

/// Writes rows under a head, as wide as they need to be.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Done {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|title| Cell::new(title.to_uppercase())));
    table.add_rows(rows);
    line(table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n"))
}

/// A field of a JSON object as text for a table; absent and `null` are a dash. Control characters are shown as
/// such: what strangers wrote must not drive a terminal.
pub fn field(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => clean(text),
        Some(other) => other.to_string(),
    }
}

/// Replaces control characters and text-direction overrides.
pub fn clean(text: &str) -> String {
    let hostile = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if hostile(c) { '\u{fffd}' } else { c }).collect()
}
