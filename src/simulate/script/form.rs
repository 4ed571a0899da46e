//! A script as people write it: JSON, checked field by field.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Answer, Body, Http, LONGEST, Script, Stage, Step};
use crate::simulate::preset::{Preset, State};

/// A script as JSON: `{"preset":"threat","after_ms":1500}`, `{"steps":[…]}`, or both (steps first).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::simulate) struct ScriptForm {
    #[serde(alias = "answers", default)]
    steps: Vec<StepForm>,
    preset: Option<Preset>,
    after_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepForm {
    status: Option<u16>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<Value>,
    body_text: Option<String>,
    content_type: Option<String>,
    state: Option<State>,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    unset: Vec<String>,
    special: Option<Special>,
    to: Option<String>,
    bytes: Option<usize>,
    every_ms: Option<u64>,
    hang_ms: Option<u64>,
    #[serde(default)]
    delay_ms: u64,
    repeat: Option<u32>,
    at: Option<Stage>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Special {
    Redirect,
    Hang,
    Drop,
    Reset,
    ResetMidBody,
    Truncated,
    Garbage,
    Drip,
    Huge,
    HugeChunked,
    GzipBomb,
}

impl ScriptForm {
    /// For a scan: the last step repeats; a life takes `usual` unless the form says how long.
    pub(in crate::simulate) fn for_scan(self, usual: Duration) -> Script {
        let (preset, after) = (self.preset, self.after_ms.map_or(usual, Duration::from_millis));
        let script = Script::steps(self.steps.into_iter().map(StepForm::into_step));
        match preset {
            None => script,
            Some(preset) if script.steps.is_empty() => Script::preset(preset, after),
            Some(preset) => script.then_live(preset, after),
        }
    }

    /// For a destination: after the steps all is well again.
    pub(in crate::simulate) fn for_destination(self) -> Script {
        Script::steps(self.steps.into_iter().map(StepForm::into_step)).then_normal()
    }
}

impl StepForm {
    fn into_step(self) -> Step {
        let (times, at) = (self.repeat.unwrap_or(1), self.at);
        let delay = Duration::from_millis(self.delay_ms);
        Step { times, at, ..Step::new(self.into_answer()).after(delay) }
    }

    fn into_answer(self) -> Answer {
        let hang = self.hang_ms.map(Duration::from_millis);
        let every = Duration::from_millis(self.every_ms.unwrap_or(100));
        match (self.special, hang) {
            (None, None) => Answer::Http(self.into_http()),
            (None | Some(Special::Hang), hang) => Answer::Hang(hang.unwrap_or(LONGEST)),
            (Some(Special::Redirect), _) => Answer::Redirect(self.to),
            (Some(Special::Drop), _) => Answer::Drop,
            (Some(Special::Reset), _) => Answer::Reset,
            (Some(Special::ResetMidBody), _) => Answer::ResetMidBody,
            (Some(Special::Truncated), _) => Answer::Truncated,
            (Some(Special::Garbage), _) => Answer::Garbage,
            (Some(Special::Drip), _) => Answer::Drip { bytes: self.bytes.unwrap_or(1000), every },
            (Some(Special::Huge), _) => Answer::Huge { bytes: self.bytes.unwrap_or(50_000_000), declared: true },
            (Some(Special::HugeChunked), _) => {
                Answer::Huge { bytes: self.bytes.unwrap_or(50_000_000), declared: false }
            }
            (Some(Special::GzipBomb), _) => Answer::GzipBomb { bytes: self.bytes.unwrap_or(50_000_000) },
        }
    }

    fn into_http(self) -> Http {
        let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
        let content_type = self.content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned());
        let body = match (self.state, self.body, self.body_text) {
            (Some(state), ..) => Body::Reference { state, set: self.set, unset: self.unset },
            (None, Some(body), _) => Body::Json(body),
            (None, None, Some(text)) => Body::Text { text, content_type },
            (None, None, None) => Body::Default,
        };
        let headers = self.headers.into_iter().map(|(name, value)| (name, text(value))).collect();
        Http { status: self.status, headers, body }
    }
}
