//! The JSON Schema of the configuration, from the same types that read it.
//!
//! Editors use it for completion: `scanbell schema > scanbell.schema.json`.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Intake, KINDS, Log, Operator, Profiles, Report, Server, Shutdown, Store, Templates};
use crate::intake::amqp;
use crate::{destination, provider, routing};

/// The schema of a whole configuration file.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let g = &mut generator;
    let properties = json!({
        "store": g.subschema_for::<Store>(),
        "intake": g.subschema_for::<Intake>(),
        "amqp": g.subschema_for::<amqp::Settings>(),
        "server": g.subschema_for::<Server>(),
        "log": g.subschema_for::<Log>(),
        "providers": named(&json!(g.subschema_for::<provider::Settings>()), "Scan APIs by name"),
        "destinations": named(&destination_schema(g), "Where things are said, by name"),
        "routes": { "type": "array", "items": g.subschema_for::<routing::RouteSettings>() },
        "operator": g.subschema_for::<Operator>(),
        "templates": g.subschema_for::<Templates>(),
        "profiles": g.subschema_for::<Profiles>(),
        "report": g.subschema_for::<Report>(),
        "shutdown": g.subschema_for::<Shutdown>(),
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "scanbell configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": generator.take_definitions(true),
    })
}

fn named(one: &Value, description: &str) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": one })
}

/// One of three, told apart by `kind`.
fn destination_schema(g: &mut SchemaGenerator) -> Value {
    let [slack, email, webhook] = KINDS;
    json!({ "oneOf": [
        of_kind(slack, json!(destination::slack::Settings::json_schema(g))),
        of_kind(email, json!(destination::email::Settings::json_schema(g))),
        of_kind(webhook, json!(destination::webhook::Settings::json_schema(g))),
    ] })
}

/// The schema of one kind's settings, with `kind` among its keys.
fn of_kind(kind: &str, mut schema: Value) -> Value {
    if let Value::Object(schema) = &mut schema {
        schema.insert("title".to_owned(), json!(kind));
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(properties) = properties {
            let mut all = Map::new();
            all.insert("kind".to_owned(), json!({ "const": kind }));
            all.append(properties);
            *properties = all;
        }
        match schema.entry("required").or_insert_with(|| json!([])) {
            Value::Array(required) => required.insert(0, json!("kind")),
            other => *other = json!(["kind"]),
        }
    }
    schema
}
