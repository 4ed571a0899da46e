//! The shape of what a template sees, and how a path in a template finds its way through it.
//!
//! Taken from the view of a report that says everything, so that it cannot differ from what is rendered.

use std::collections::BTreeMap;

use serde_json::Value;

use super::sample::sample_report;
use super::view::View;
use crate::problem::did_you_mean;

/// What can be below a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Nothing: text, number, null.
    Leaf,
    /// Items of one shape.
    List(Box<Shape>),
    /// These fields and no others.
    Fields(BTreeMap<String, Shape>),
    /// Whatever the report brings: labels, counts, raw, and values whose origin is not known.
    Open,
}

static OPEN: Shape = Shape::Open;
static LEAF: Shape = Shape::Leaf;

/// Fields of the report whose names are not ours.
const OPEN_FIELDS: [&str; 3] = ["labels", "counts", "raw"];

impl Shape {
    /// The shape of the whole view.
    pub(super) fn of_view() -> Self {
        let sample = serde_json::to_value(View::new(&sample_report(), true)).unwrap_or_default();
        let mut shape = Self::of(&sample);
        if let Self::Fields(fields) = &mut shape
            && let Some(Self::Fields(report)) = fields.get_mut("report")
        {
            report.extend(OPEN_FIELDS.map(|name| (name.to_owned(), Self::Open)));
            // Left out of the JSON unless it is true.
            report.insert("raw_omitted".to_owned(), Self::Leaf);
        }
        shape
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Object(fields) => {
                Self::Fields(fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
            Value::Array(items) => Self::List(Box::new(items.first().map_or(Self::Leaf, Self::of))),
            _ => Self::Leaf,
        }
    }
}

/// A shape and the way to it from the root, where that is known.
#[derive(Debug, Clone)]
pub(super) struct Place<'s> {
    shape: &'s Shape,
    way: Option<Vec<String>>,
}

impl<'s> Place<'s> {
    /// A value of unknown origin.
    pub(super) fn anything() -> Self {
        Self { shape: &OPEN, way: None }
    }

    fn leaf() -> Self {
        Self { shape: &LEAF, way: None }
    }

    /// What `{{#each}}` shows of it.
    pub(super) fn item(self) -> Self {
        let shape = match self.shape {
            Shape::List(item) => item,
            _ => &OPEN,
        };
        // The items of an open value still come out of it: whoever loops over `report.raw` looks at raw.
        Self { shape, way: None }
    }

    fn field(&self, name: &str) -> Option<Self> {
        let way = self.way.as_ref().map(|way| way.iter().cloned().chain([name.to_owned()]).collect());
        let shape = match self.shape {
            Shape::Open => &OPEN,
            Shape::Fields(fields) => fields.get(name)?,
            Shape::List(item) if name.parse::<usize>().is_ok() => return Some(Self { shape: item, way: None }),
            Shape::List(_) | Shape::Leaf => return None,
        };
        Some(Self { shape, way })
    }

    /// Whether `report.raw` has to be there for it: it is in it, or contains it.
    pub(super) fn reaches_raw(&self) -> bool {
        self.way.as_ref().is_some_and(|way| {
            let raw = ["report", "raw"];
            way.iter().zip(raw).all(|(step, expected)| step == expected)
        })
    }

    /// The way, if it leads below a field whose names are not ours.
    pub(super) fn open_path(&self) -> Option<Vec<String>> {
        let way = self.way.as_ref().filter(|way| way.len() > 2)?;
        let open = way.first()? == "report" && OPEN_FIELDS.contains(&way.get(1)?.as_str());
        open.then(|| way.clone())
    }

    fn names(&self) -> Vec<&'s str> {
        match self.shape {
            Shape::Fields(fields) => fields.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// A path that leads nowhere.
pub(super) struct Missing {
    /// Of what the last step is no field: `the report`, `report.subject`.
    pub(super) of: String,
    step: String,
    known: Vec<String>,
    before: String,
}

impl Missing {
    /// "did you mean".
    pub(super) fn hint(&self) -> String {
        let known: Vec<String> = self.known.iter().map(|name| format!("{}{name}", self.before)).collect();
        did_you_mean(&format!("{}{}", self.before, self.step), known.iter().map(String::as_str))
    }
}

/// Where a path begins: the frames of `each`, `with` and partials around it.
pub(super) struct Scope<'s> {
    frames: Vec<Frame<'s>>,
}

struct Frame<'s> {
    here: Place<'s>,
    names: BTreeMap<String, Place<'s>>,
}

impl<'s> Scope<'s> {
    /// At the root.
    pub(super) fn new(shape: &'s Shape) -> Self {
        let here = Place { shape, way: Some(Vec::new()) };
        Self { frames: vec![Frame { here, names: BTreeMap::new() }] }
    }

    pub(super) fn push(&mut self, here: Place<'s>) {
        self.frames.push(Frame { here, names: BTreeMap::new() });
    }

    pub(super) fn pop(&mut self) {
        self.frames.pop();
    }

    /// `as |item index|`.
    pub(super) fn name_items(&mut self, names: &[String], item: &Place<'s>) {
        if let Some(frame) = self.frames.last_mut() {
            let places = [item.clone(), Place::leaf()];
            frame.names.extend(names.iter().cloned().zip(places));
        }
    }

    /// `{{> partial name=value}}`.
    pub(super) fn name_values<'n>(&mut self, names: impl Iterator<Item = &'n String>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.names.extend(names.map(|name| (name.clone(), Place::anything())));
        }
    }

    /// What `this` is.
    pub(super) fn here(&self) -> Place<'s> {
        self.frames.last().map_or_else(Place::anything, |frame| frame.here.clone())
    }

    /// What `path` is, as Handlebars reads it: `a.b`, `a/b`, `this.a`, `../a`, `@root.a`, `@index`, `a.[b c]`.
    pub(super) fn find(&self, path: &str) -> Result<Place<'s>, Missing> {
        let mut steps = split(path);
        let mut up = 0;
        let mut place = None;
        while let Some(step) = steps.first().cloned() {
            match step.as_str() {
                ".." => up += 1,
                "this" | "." => {}
                "@root" => place = self.frames.first().map(|frame| frame.here.clone()),
                local if local.starts_with('@') => return Ok(Place::leaf()),
                _ => break,
            }
            steps.remove(0);
        }
        let Some(frame) = self.frames.len().checked_sub(up + 1).and_then(|index| self.frames.get(index)) else {
            return Ok(Place::anything());
        };
        let mut before = String::new();
        if place.is_none()
            && up == 0
            && let Some(named) = steps.first().and_then(|step| self.named(step))
        {
            before = format!("{}.", steps.remove(0));
            place = Some(named);
        }
        let inside = place.is_none() && self.frames.len() > up + 1;
        follow(place.unwrap_or_else(|| frame.here.clone()), &steps, before, inside)
    }

    /// Names given by `as |…|` or by a partial's parameters; they are seen in the blocks inside too.
    fn named(&self, step: &str) -> Option<Place<'s>> {
        self.frames.iter().rev().find_map(|frame| frame.names.get(step).cloned())
    }
}

fn follow<'s>(from: Place<'s>, steps: &[String], mut before: String, inside: bool) -> Result<Place<'s>, Missing> {
    let mut place = from;
    for step in steps {
        place = place.field(step).ok_or_else(|| Missing {
            of: match before.trim_end_matches('.') {
                "" if inside => "what the block around it shows; the whole view begins with `@root.`".to_owned(),
                "" => "what templates see".to_owned(),
                "report" => "the report".to_owned(),
                other => format!("`{other}`"),
            },
            step: step.clone(),
            known: place.names().into_iter().map(str::to_owned).collect(),
            before: before.clone(),
        })?;
        before.push_str(step);
        before.push('.');
    }
    Ok(place)
}

/// The steps of a path; what stands in `[…]` is one step.
fn split(path: &str) -> Vec<String> {
    let (mut steps, mut step, mut bracket) = (Vec::new(), String::new(), false);
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '[' if !bracket => bracket = true,
            ']' if bracket => bracket = false,
            '.' if !bracket && step.is_empty() && characters.peek() == Some(&'.') => {
                characters.next();
                steps.push("..".to_owned());
            }
            '.' | '/' if !bracket => steps.push(std::mem::take(&mut step)),
            other => step.push(other),
        }
    }
    steps.push(step);
    steps.retain(|step| !step.is_empty());
    steps
}
