//! The compiled templates: one registry for each dialect, each with its own escaping. Renders within bounds.
//!
//! A template cannot take the process with it: its output is limited, a panic in it is caught, and what would abort
//! was refused at load.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use handlebars::{Handlebars, RenderError, Template};
use serde_json::Value;

use super::escape::Dialect;
use super::helpers;
use super::library::Key;
use super::lint::Uses;
use super::view::View;
use crate::domain::report::Report;

/// The most that a template may make, in bytes: several times a report with the largest `raw`.
const LARGEST: usize = 4 * 1024 * 1024;

/// Registries, and what each template looks at.
pub(super) struct Engine {
    registries: BTreeMap<Dialect, Handlebars<'static>>,
    uses: BTreeMap<Key, Uses>,
}

impl Engine {
    /// Without templates yet.
    pub(super) fn new() -> Self {
        let registries = Dialect::ALL.into_iter().map(|dialect| (dialect, registry(dialect))).collect();
        Self { registries, uses: BTreeMap::new() }
    }

    /// Adds a template that was checked.
    pub(super) fn add(&mut self, (dialect, name): &Key, template: Template) {
        if let Some(registry) = self.registries.get_mut(dialect) {
            registry.register_template(name, template);
        }
    }

    /// Remembers what a template looks at.
    pub(super) fn looks_at(&mut self, key: Key, uses: Uses) {
        self.uses.insert(key, uses);
    }

    /// What the templates called `name` see of `report`.
    pub(super) fn data(
        &self,
        dialects: &[Dialect],
        name: &str,
        report: &Report,
    ) -> Result<handlebars::Context, String> {
        let uses: Vec<&Uses> =
            dialects.iter().filter_map(|dialect| self.uses.get(&(*dialect, name.to_owned()))).collect();
        let view = View::new(report, uses.iter().any(|uses| uses.raw));
        let mut data = serde_json::to_value(view).map_err(|error| format!("`{name}` has nothing to see: {error}"))?;
        for path in uses.iter().flat_map(|uses| &uses.open_paths) {
            let steps: Vec<&str> = path.iter().map(String::as_str).collect();
            put_null(&mut data, &steps);
        }
        handlebars::Context::wraps(data).map_err(|error| error.to_string())
    }

    /// One template over `data`, or why not, in a sentence without any value of the data.
    pub(super) fn render(&self, dialect: Dialect, name: &str, data: &handlebars::Context) -> Result<String, String> {
        let registry = self.registries.get(&dialect).ok_or_else(|| format!("there is no template `{name}`"))?;
        let mut out = Limited(Vec::new());
        match catch_unwind(AssertUnwindSafe(|| registry.render_with_context_to_write(name, data, &mut out))) {
            Ok(Ok(())) => String::from_utf8(out.0).map_err(|_| format!("`{name}` did not make text")),
            Ok(Err(error)) => Err(sentence(name, dialect, &error)),
            Err(_) => Err(format!("`{name}{}` panicked", dialect.extension())),
        }
    }
}

/// The JSON that a template made, or where it stops being JSON.
pub(super) fn json(name: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("`{name}` did not make JSON: line {} of its output: {}", error.line(), fault(&error)))
}

/// What is wrong, without the position at its end.
fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn sentence(name: &str, dialect: Dialect, error: &RenderError) -> String {
    let file = format!("{}{}", error.template_name.as_deref().unwrap_or(name), dialect.extension());
    let line = error.line_no.map(|line| format!(" line {line}")).unwrap_or_default();
    format!("`{file}`{line}: {}", error.reason())
}

fn registry(dialect: Dialect) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    // An indented partial would indent the lines inside of values too.
    registry.set_prevent_indent(true);
    registry.register_escape_fn(move |value| dialect.escape(value));
    helpers::register(&mut registry, dialect);
    registry
}

/// Puts null where `path` leads nowhere: a label, a count or a field of `raw` that this report lacks.
fn put_null(data: &mut Value, path: &[&str]) {
    let mut here = data;
    for step in path {
        here = match here {
            Value::Null => {
                *here = Value::Object(serde_json::Map::new());
                match here {
                    Value::Object(fields) => fields.entry(*step).or_insert(Value::Null),
                    _ => return,
                }
            }
            Value::Object(fields) => fields.entry(*step).or_insert(Value::Null),
            // Another type than the template thinks: its failure is the truth.
            _ => return,
        };
    }
}

/// Takes so much and no more.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST {
            return Err(io::Error::other("makes more than 4 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
