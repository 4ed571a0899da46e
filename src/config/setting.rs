//! Reads a typed setting out of the layered tree.
//!
//! What came from the environment is text and nothing else; only here, where the type that the setting wants is
//! known, does it become a number, a list or a table. So a password `12345` or `true` stays the text it is, and no
//! value is ever guessed at. A key that a type would silently ignore is refused.

use std::collections::btree_map;

use figment::value::{Dict, Num, Tag, Value};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::document;
use super::fault::{Fault, Step};

/// A value of the tree, and the tag of those that came from the environment.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    value: &'a Value,
    environment: Option<Tag>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(value: &'a Value, environment: Option<Tag>) -> Self {
        Self { value, environment }
    }

    /// The text of a variable of the environment.
    fn variable(&self) -> Option<(&'a str, Tag)> {
        match self.value {
            Value::String(tag, text) if Some(*tag) == self.environment => Some((text.trim(), *tag)),
            _ => None,
        }
    }

    /// Visits the value as the type it has.
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Self { value, environment } = self;
        match value {
            Value::String(_, text) => visitor.visit_str(text),
            Value::Char(_, letter) => visitor.visit_char(*letter),
            Value::Bool(_, flag) => visitor.visit_bool(*flag),
            Value::Num(_, number) => visit_number(*number, visitor),
            Value::Empty(..) => visitor.visit_unit(),
            Value::Dict(_, table) => visitor.visit_map(Table { rest: table.iter(), value: None, environment }),
            Value::Array(_, list) => visitor.visit_seq(List { rest: list.iter().enumerate(), environment }),
        }
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Some((text, _)) = self.variable() else { return self.visit(visitor) };
        match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => visitor.visit_i64(number),
            (_, Ok(number)) if number.is_finite() => visitor.visit_f64(number),
            _ => Err(Fault::invalid_type(Unexpected::Str(""), &visitor)),
        }
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: Num, visitor: V) -> Result<V::Value, Fault> {
    match number {
        Num::I64(number) => visitor.visit_i64(number),
        Num::F64(number) => visitor.visit_f64(number),
        other => match other.to_i128().map(i64::try_from) {
            Some(Ok(number)) => visitor.visit_i64(number),
            _ => visitor.visit_f64(other.to_f64().unwrap_or(f64::NAN)),
        },
    }
}

/// `["a", "b"]` or `a, b`.
fn list_of(text: &str, tag: Tag) -> Option<Value> {
    if text.starts_with('[') {
        return document::literal(text, tag).filter(|value| matches!(value, Value::Array(..)));
    }
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    Some(Value::Array(tag, words.map(|word| Value::String(tag, word.to_owned())).collect()))
}

/// `{ first = "2s", growth = 1.5 }`.
fn table_of(text: &str, tag: Tag) -> Option<Value> {
    document::literal(text, tag).filter(|value| matches!(value, Value::Dict(..)))
}

fn flag_of(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// What a variable turns into, or the fault that it does not.
fn turned<'de, V: Visitor<'de>>(value: Option<Value>, environment: Option<Tag>, visitor: V) -> Result<V::Value, Fault> {
    match value {
        Some(value) => Setting::new(&value, environment).visit(visitor),
        None => Err(Fault::invalid_type(Unexpected::Str(""), &visitor)),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Setting<'_> {
    type Error = Fault;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    /// For types that take several shapes: a variable is a list only if it is unmistakably one.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable().filter(|(text, _)| text.starts_with('[')).and_then(|(text, tag)| list_of(text, tag)) {
            Some(list) => Setting::new(&list, self.environment).visit(visitor),
            None => self.visit(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable() {
            Some((text, tag)) => turned(flag_of(text).map(|flag| Value::Bool(tag, flag)), self.environment, visitor),
            None => self.visit(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable() {
            Some((text, tag)) => turned(list_of(text, tag), self.environment, visitor),
            None => self.visit(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable() {
            Some((text, tag)) => turned(table_of(text, tag), self.environment, visitor),
            None => self.visit(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            // A derived struct would take a list for its fields in order: nobody writes that on purpose.
            Value::Array(..) => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Empty(..) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            Value::String(_, word) => {
                let word: StrDeserializer<'_, Fault> = word.trim().into_deserializer();
                visitor.visit_enum(word)
            }
            _ => self.visit(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::unread())
    }

    forward_to_deserialize_any! { char unit unit_struct identifier bytes byte_buf }

    /// Text stays as it was given, spaces included: it may be a password.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }
}

struct Table<'a> {
    rest: btree_map::Iter<'a, String, Value>,
    value: Option<(&'a str, &'a Value)>,
    environment: Option<Tag>,
}

impl<'de> MapAccess<'de> for Table<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key, value));
        let name: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|fault| fault.at(Step::Key(key.clone())))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, value)) = self.value.take() else { return Err(Fault::custom("a value without its key")) };
        seed.deserialize(Setting::new(value, self.environment)).map_err(|fault| fault.at(Step::Key(key.to_owned())))
    }
}

struct List<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    environment: Option<Tag>,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        // TOML has no empty values: these are gaps that faulty elements left.
        let next = self.rest.find(|(_, value)| !matches!(value, Value::Empty(..)));
        let Some((index, value)) = next else { return Ok(None) };
        let element = seed.deserialize(Setting::new(value, self.environment));
        element.map(Some).map_err(|fault| fault.at(Step::Index(index)))
    }
}

/// The table at `value`, if it is one.
pub(super) fn table(value: &Value) -> Option<&Dict> {
    match value {
        Value::Dict(_, table) => Some(table),
        _ => None,
    }
}
