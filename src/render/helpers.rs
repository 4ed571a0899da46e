//! The few helpers that templates have beside Handlebars' own (`if`, `each`, `eq`, `gt`, `and`, `lookup`, `len` …).
//!
//! Each returns a value that the registry escapes like any other; only `json` writes JSON, and there each string
//! in it is made fit for the dialect first.
//!
//! | helper | makes |
//! |---|---|
//! | `{{truncate value 40}}` | at most 40 characters, cut between graphemes, marked with `…` |
//! | `{{plural count "finding" "findings"}}` | `1 finding`, `3 findings` |
//! | `{{join list ", "}}` | the items of a list in one line |
//! | `{{default value "none said"}}` | the second where the first is null, empty or absent |
//! | `{{upper value}}` | upper case |
//! | `{{json value}}` | the value as JSON, with its quotes: `"size": {{json report.subject.size}}` |

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, JsonTruthy, Output, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use serde_json::Value;

use super::escape::{Dialect, shorten};

/// Every helper a template may use as an expression: ours and Handlebars' own.
pub(super) const NAMES: [&str; 18] = [
    "truncate", "plural", "join", "default", "upper", "json", "lookup", "len", "eq", "ne", "gt", "gte", "lt", "lte",
    "and", "or", "not", "if",
];

/// Every helper a template may use as a block.
pub(super) const BLOCKS: [&str; 5] = ["if", "unless", "each", "with", "raw"];

/// Gives `registry` the helpers of `dialect`, and takes away those that act on the outside.
pub(super) fn register(registry: &mut Handlebars<'static>, dialect: Dialect) {
    registry.unregister_helper("log");
    registry.register_helper("truncate", Box::new(Function(truncate)));
    registry.register_helper("plural", Box::new(Function(plural)));
    registry.register_helper("join", Box::new(Function(join)));
    registry.register_helper("default", Box::new(Function(default)));
    registry.register_helper("upper", Box::new(Function(upper)));
    registry.register_helper("json", Box::new(Json(dialect)));
}

/// A helper that makes one value of its parameters.
struct Function(fn(&Helper) -> Result<Value, RenderError>);

impl HelperDef for Function {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        (self.0)(helper).map(ScopedJson::Derived)
    }
}

/// The parameter at `index`, or what to write.
fn param<'h>(helper: &'h Helper, index: usize, usage: &'static str) -> Result<&'h Value, RenderError> {
    helper
        .param(index)
        .map(handlebars::PathAndJson::value)
        .ok_or_else(|| RenderErrorReason::Other(format!("write it like {usage}")).into())
}

fn truncate(helper: &Helper) -> Result<Value, RenderError> {
    const USAGE: &str = "{{truncate value 40}}";
    let longest = param(helper, 1, USAGE)?.as_u64().ok_or(RenderErrorReason::InvalidParamType("number"))?;
    let longest = usize::try_from(longest).unwrap_or(usize::MAX).max(1);
    Ok(shorten(&param(helper, 0, USAGE)?.render(), longest).into())
}

fn plural(helper: &Helper) -> Result<Value, RenderError> {
    const USAGE: &str = "{{plural count \"finding\" \"findings\"}}";
    let count = param(helper, 0, USAGE)?;
    let number = match count {
        Value::Array(items) => items.len().to_string(),
        other => other.render(),
    };
    let noun = param(helper, if number == "1" { 1 } else { 2 }, USAGE)?;
    Ok(format!("{number} {}", noun.render()).into())
}

fn join(helper: &Helper) -> Result<Value, RenderError> {
    const USAGE: &str = "{{join list \", \"}}";
    let separator = helper.param(1).map_or_else(|| ", ".to_owned(), handlebars::PathAndJson::render);
    Ok(match param(helper, 0, USAGE)? {
        Value::Array(items) => items.iter().map(JsonRender::render).collect::<Vec<_>>().join(&separator).into(),
        other => other.render().into(),
    })
}

fn default(helper: &Helper) -> Result<Value, RenderError> {
    const USAGE: &str = "{{default value \"none said\"}}";
    let value = param(helper, 0, USAGE)?;
    let given = value.is_number() || value.is_boolean() || value.is_truthy(true);
    Ok(if given { value.clone() } else { param(helper, 1, USAGE)?.clone() })
}

fn upper(helper: &Helper) -> Result<Value, RenderError> {
    Ok(param(helper, 0, "{{upper value}}")?.render().to_uppercase().into())
}

/// `{{json value}}`.
struct Json(Dialect);

impl HelperDef for Json {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = param(helper, 0, "{{json value}}")?;
        let text = match self.0 {
            Dialect::Json => value.to_string(),
            Dialect::Slack => map_strings(value, &|text| Dialect::Slack.value(text)).to_string(),
            other => other.escape(&value.to_string()),
        };
        Ok(out.write(&text)?)
    }
}

/// `value` with every string and key in it changed. As deep as the JSON parser allows, which is not deep.
fn map_strings(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => change(text).into(),
        Value::Array(items) => items.iter().map(|item| map_strings(item, change)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, item)| (change(key), map_strings(item, change)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}
