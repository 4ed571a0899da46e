//! What can be wrong with one setting, in words for a person.
//!
//! This is the error type of [`super::setting`]: it knows where in the tree and what, and never keeps a value,
//! except a wrong word of a closed list and what a setting's own type says of its value (both are shown only
//! after [`super::scrub`] has seen them).

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

/// One step from the root of the configuration to a setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Step {
    /// The key, if it leads into a table.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// The way from the root of the configuration to a setting.
pub(super) type Path = Vec<Step>;

/// The path of a few keys.
pub(super) fn keys(names: &[&str]) -> Path {
    names.iter().map(|name| Step::Key((*name).to_owned())).collect()
}

/// What is wrong, and at which setting below the one that was being read.
#[derive(Debug)]
pub(super) struct Fault {
    /// From the innermost step to the outermost.
    steps: Vec<Step>,
    /// What is wrong there.
    pub(super) kind: Kind,
}

/// What is wrong.
#[derive(Debug)]
pub(super) enum Kind {
    /// The last step of the path is a key that does not exist.
    UnknownKey { known: &'static [&'static str] },
    /// The table at the path lacks this key.
    Missing { key: &'static str },
    /// A value of another type, or a number out of range.
    WrongType { wanted: Wanted, found: &'static str },
    /// A word that is not in a closed list.
    UnknownWord { word: String, known: &'static [&'static str] },
    /// What the setting's own type says; may contain the value.
    Said(String),
}

/// What a setting takes: its name, and how to write one.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) example: Option<&'static str>,
    /// The example is about quotes that should not be there.
    pub(super) needs_no_quotes: bool,
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self { steps: Vec::new(), kind }
    }

    /// A key that nothing reads.
    pub(super) fn unread() -> Self {
        Self::new(Kind::UnknownKey { known: &[] })
    }

    /// The same fault, seen from one table or list further out.
    pub(super) fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Where, below `base`.
    pub(super) fn path(&self, base: &[Step]) -> Path {
        base.iter().chain(self.steps.iter().rev()).cloned().collect()
    }
}

impl Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(Kind::Said(text.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(Kind::WrongType { wanted: wanted_words(&wanted.to_string()), found: found_words(&found) })
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(0..) | Unexpected::Unsigned(_) => "too large",
            other => found_words(&other),
        };
        Self::new(Kind::WrongType { wanted: wanted_words(&wanted.to_string()), found })
    }

    fn invalid_length(_: usize, wanted: &dyn Expected) -> Self {
        Self::new(Kind::WrongType { wanted: wanted_words(&wanted.to_string()), found: "another number of them" })
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownWord { word: word.to_owned(), known })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownKey { known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Kind::Missing { key })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting does not fit")
    }
}

impl std::error::Error for Fault {}

/// What was found, without its value.
fn found_words(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Signed(number) if *number < 0 => "a negative number",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(number) if number.is_infinite() => "too large",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Seq => "a list",
        Unexpected::Map | Unexpected::StructVariant => "a table",
        _ => "something else",
    }
}

/// What serde calls a type, in words of the configuration.
fn wanted_words(serde_says: &str) -> Wanted {
    let (name, example) = match serde_says {
        "u8" => ("a whole number from 0 to 255", None),
        "u16" => ("a whole number from 0 to 65535", None),
        "u32" => ("a whole number from 0 to 4294967295", None),
        "u64" | "usize" | "u128" => ("a whole number, 0 or more", None),
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => ("a whole number", None),
        "f32" | "f64" => ("a number", None),
        "a boolean" => ("true or false", None),
        "a string" | "a borrowed string" | "path string" => ("text", Some("put it in quotes: \"…\"")),
        "a sequence" => ("a list", Some("write it like [\"one\", \"two\"]")),
        "a map" => ("a table", Some("write it like { key = \"value\" }")),
        other if other.starts_with("struct ") => ("a table", Some("write it like { key = \"value\" }")),
        other if other.starts_with("enum ") => ("a word", Some("put it in quotes: \"…\"")),
        other => return Wanted { name: other.to_owned(), example: None, needs_no_quotes: false },
    };
    let needs_no_quotes = name.contains("number") || name == "true or false";
    let example = if needs_no_quotes { Some("write it without quotes") } else { example };
    Wanted { name: name.to_owned(), example, needs_no_quotes }
}
