//! Rules over an answer: JSON Pointers and conditions, compiled once, evaluated without a panic on any body.

use serde_json::Value;

/// A JSON Pointer (RFC 6901); `""` is the whole body. Taken apart once: `Value::pointer` does it for every look, which
/// was a twelfth of what scanbell asked of the allocator for a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<Token>);

/// A reference token: one name on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    /// The name as a place in an array.
    index: Option<usize>,
}

impl Token {
    fn new(token: &str) -> Self {
        let is_index = token == "0" || !token.starts_with(['0', '+']);
        Self { name: token.replace("~1", "/").replace("~0", "~"), index: token.parse().ok().filter(|_| is_index) }
    }

    fn take<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match value {
            Value::Object(map) => map.get(&self.name),
            Value::Array(list) => list.get(self.index?),
            _ => None,
        }
    }
}

impl Pointer {
    /// Checks the syntax, which `serde_json` would silently answer with "not there".
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!("`{text}` is not a JSON Pointer; write it like \"/{text}\""));
        }
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('~') {
            if !after.starts_with(['0', '1']) {
                return Err(format!("`{text}` is not a JSON Pointer: `~` is written `~0`, `/` in a name `~1`"));
            }
            rest = after;
        }
        Ok(Self(text.split('/').skip(1).map(Token::new).collect()))
    }

    /// What is there; `null` is the same as nothing.
    pub fn find<'v>(&self, body: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(body, |value, token| token.take(value)).filter(|value| !value.is_null())
    }
}

/// What a value is compared with.
///
/// Written as a string, it equals every scalar of that text, ignoring case: `"100"` is both `100` and `"100"`.
/// Written as a boolean or a number, it equals only a value of that type: `true` is not `"true"`.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Compared as text, ignoring case.
    Text(String),
    /// Only that boolean.
    Bool(bool),
    /// Only that number.
    Number(f64),
}

impl Literal {
    fn equals(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => scalar(value).is_some_and(|said| same_word(&said, text)),
            Self::Bool(wanted) => value.as_bool() == Some(*wanted),
            Self::Number(wanted) => value.as_f64() == Some(*wanted),
        }
    }
}

/// Words are the same whatever their case, also outside ASCII.
pub fn same_word(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && a.to_lowercase() == b.to_lowercase())
}

/// A string, number or boolean as text.
pub fn scalar(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        _ => None,
    }
}

/// One condition; all that is written must hold.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// The HTTP status is one of these; empty: any.
    pub http: Vec<u16>,
    /// What is looked at.
    pub at: Option<Pointer>,
    /// It equals one of these; empty: not asked.
    pub one_of: Vec<Literal>,
    /// It is a number, or the text of one, of at least this.
    pub at_least: Option<f64>,
    /// Whether it is there and not `null`.
    pub present: Option<bool>,
    /// Whether it is there and not `null`, `""`, `[]`, `{}` or `false`.
    pub nonempty: Option<bool>,
    /// These must hold too.
    pub and: Vec<Condition>,
}

impl Condition {
    /// Whether it holds for an answer; a body that could not be read satisfies only what asks for no body.
    pub fn holds(&self, http: u16, body: Option<&Value>) -> bool {
        let http_fits = self.http.is_empty() || self.http.contains(&http);
        let body_fits = || match (&self.at, body) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(at), Some(body)) => self.fits(at.find(body)),
        };
        http_fits && body_fits() && self.and.iter().all(|more| more.holds(http, body))
    }

    fn fits(&self, found: Option<&Value>) -> bool {
        let equals = |value| self.one_of.iter().any(|literal| literal.equals(value));
        self.present.is_none_or(|wanted| found.is_some() == wanted)
            && self.nonempty.is_none_or(|wanted| found.is_some_and(is_nonempty) == wanted)
            && (self.one_of.is_empty() || found.is_some_and(equals))
            && self.at_least.is_none_or(|least| found.and_then(number).is_some_and(|number| number >= least))
    }
}

fn is_nonempty(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(_) => true,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A number, or a string that is one ("100", "50.5").
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(pointer: &str) -> Condition {
        Condition { at: Some(Pointer::parse(pointer).unwrap()), ..Condition::default() }
    }

    #[test]
    fn words_are_compared_as_text_and_in_any_case() {
        let rule = Condition { one_of: vec![Literal::Text("completed".into())], ..at("/s") };
        for said in ["completed", "Completed", "COMPLETED"] {
            assert!(rule.holds(200, Some(&json!({"s": said}))), "{said}");
        }
        let rule = Condition { one_of: vec![Literal::Text("100".into())], ..at("/s") };
        assert!(rule.holds(200, Some(&json!({"s": 100}))));
        assert!(rule.holds(200, Some(&json!({"s": "100"}))));
        assert!(!rule.holds(200, Some(&json!({"s": [100]}))));
    }

    #[test]
    fn a_boolean_or_number_in_a_rule_equals_only_its_own_type() {
        let rule = Condition { one_of: vec![Literal::Bool(true)], ..at("/t") };
        assert!(rule.holds(200, Some(&json!({"t": true}))));
        assert!(!rule.holds(200, Some(&json!({"t": "true"}))));
        let rule = Condition { one_of: vec![Literal::Number(0.0)], ..at("/n") };
        assert!(rule.holds(200, Some(&json!({"n": 0}))));
        assert!(!rule.holds(200, Some(&json!({"n": "0"}))));
        assert!(!rule.holds(200, Some(&json!({"n": null}))));
    }

    #[test]
    fn at_least_takes_numbers_and_their_text() {
        let rule = Condition { at_least: Some(100.0), ..at("/p") };
        assert!(rule.holds(200, Some(&json!({"p": "100"}))));
        assert!(rule.holds(200, Some(&json!({"p": 100.5}))));
        assert!(!rule.holds(200, Some(&json!({"p": "99%"}))));
        assert!(!rule.holds(200, Some(&json!({}))));
    }

    #[test]
    fn missing_null_and_empty_are_told_apart() {
        let present = Condition { present: Some(true), ..at("/e") };
        let nonempty = Condition { nonempty: Some(true), ..at("/e") };
        assert!(!present.holds(200, Some(&json!({"e": null}))));
        assert!(present.holds(200, Some(&json!({"e": ""}))));
        assert!(!nonempty.holds(200, Some(&json!({"e": " "}))));
        assert!(nonempty.holds(200, Some(&json!({"e": "boom"}))));
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let rule = Condition { http: vec![200], and: vec![Condition { present: Some(true), ..at("/r") }], ..at("") };
        assert!(rule.holds(200, Some(&json!({"r": 1}))));
        assert!(!rule.holds(206, Some(&json!({"r": 1}))));
        assert!(!rule.holds(200, Some(&json!({}))));
        assert!(!rule.holds(200, None));
    }

    #[test]
    fn the_whole_body_can_be_a_word() {
        let rule = Condition { one_of: vec![Literal::Text("done".into())], ..at("") };
        assert!(rule.holds(200, Some(&json!("Done"))));
        assert!(!rule.holds(200, Some(&json!(["done"]))));
    }

    #[test]
    fn a_pointer_finds_what_rfc_6901_says() {
        let body = json!({"": 0, "a/b": [10, 11, {"m~n": 12}], "~1": 13, "x": {"0": 14, "01": 15, "-": 16}, "n": null});
        let asked = [
            "",
            "/",
            "/a~1b",
            "/a~1b/0",
            "/a~1b/2/m~0n",
            "/a~1b/3",
            "/a~1b/00",
            "/a~1b/+1",
            "/a~1b/-",
            "/a~1b/01",
            "/~01",
            "/x/0",
            "/x/01",
            "/x/-",
            "/x/0/0",
            "/x/",
            "/nothing",
            "/a~1b/99999999999999999999",
            "/n",
        ];
        for text in asked {
            let theirs = body.pointer(text).filter(|value| !value.is_null());
            assert_eq!(Pointer::parse(text).unwrap().find(&body), theirs, "{text}");
        }
    }

    #[test]
    fn a_pointer_without_its_slash_is_refused_with_the_right_spelling() {
        assert!(Pointer::parse("status").unwrap_err().contains("\"/status\""));
        assert!(Pointer::parse("/a~2").is_err());
        assert!(Pointer::parse("/a~1b~0").is_ok());
    }
}
