//! A script: what one scan, one destination or one whole provider answers, step by step.
//!
//! Built in code by tests, read from JSON for everybody else. What could be endless (hangs, drips, huge bodies)
//! is clamped here, once, so that nothing further down has to ask.

mod form;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use form::ScriptForm;

use super::preset::{Preset, State};
use crate::time::{Timestamp, until};

/// No answer takes longer than this.
const LONGEST: Duration = Duration::from_secs(600);
/// No body is larger than this, in bytes.
const LARGEST: usize = 256 * 1024 * 1024;
/// No script has more steps.
const MOST_STEPS: usize = 10_000;

/// What is answered, in order.
#[derive(Debug, Clone)]
pub struct Script {
    steps: Arc<[Step]>,
    then: Then,
}

/// What comes when the steps are used up.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The last step, for ever.
    RepeatLast,
    /// A life from its beginning.
    Live { preset: Preset, after: Duration },
    /// What would have been answered without a script.
    Normal,
}

/// One answer, some times over.
#[derive(Debug, Clone)]
pub struct Step {
    /// What.
    pub answer: Answer,
    /// How often before the next step; 1 or more.
    pub times: u32,
    /// How long to wait before answering.
    pub delay: Duration,
    /// Where in the dialogue; only SMTP has places.
    pub at: Option<Stage>,
}

/// An answer, or the lack of one.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A proper HTTP answer (SMTP: `status` and the text of `body`).
    Http(Http),
    /// 302 to this URL; none: to the simulator's own `/hooks/redirected`, by another host name.
    Redirect(Option<String>),
    /// Nothing for this long, then the connection is closed.
    Hang(Duration),
    /// The connection is closed without an answer.
    Drop,
    /// The connection is reset without an answer.
    Reset,
    /// Half a body, then a reset.
    ResetMidBody,
    /// Half a body, then an orderly close; the length promised the whole.
    Truncated,
    /// Bytes that are not HTTP.
    Garbage,
    /// A body that comes byte by byte.
    Drip {
        /// How many bytes.
        bytes: usize,
        /// The pause before each.
        every: Duration,
    },
    /// A very large JSON string.
    Huge {
        /// How many bytes.
        bytes: usize,
        /// Whether the length is said beforehand.
        declared: bool,
    },
    /// A small gzip body that unpacks to this many zeros.
    GzipBomb {
        /// How many bytes after unpacking.
        bytes: usize,
    },
}

/// A proper HTTP answer.
#[derive(Debug, Clone, Default)]
pub struct Http {
    /// Default: 200, or what the state stands for.
    pub status: Option<u16>,
    /// Beside `content-type` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// What goes with the status: an error object for an error, else nothing.
    #[default]
    Default,
    /// As it is, with this content type.
    Text {
        /// The bytes.
        text: String,
        /// The header.
        content_type: String,
    },
    /// As JSON.
    Json(Value),
    /// The provider's complete reference body for a state.
    Reference {
        /// Which.
        state: State,
        /// Fields to set, objects merged; a null sets null.
        set: Map<String, Value>,
        /// Top-level fields to leave out.
        unset: Vec<String>,
    },
}

/// A place in the SMTP dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The greeting.
    Connect,
    /// `EHLO`.
    Ehlo,
    /// `AUTH`.
    Auth,
    /// `MAIL FROM`.
    Mail,
    /// `RCPT TO`.
    Rcpt,
    /// `DATA`.
    Data,
    /// The dot that ends the message.
    Dot,
}

/// Where a reader of a script stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    step: usize,
    used: u32,
    lived: u32,
    born: Option<Timestamp>,
}

impl Step {
    /// This answer, once.
    pub fn new(answer: Answer) -> Self {
        Self { answer, times: 1, delay: Duration::ZERO, at: None }
    }

    /// A status with what goes with it.
    pub fn status(status: u16) -> Self {
        Self::new(Answer::Http(Http { status: Some(status), ..Http::default() }))
    }

    /// The reference body of a state.
    pub fn state(state: State) -> Self {
        let body = Body::Reference { state, set: Map::new(), unset: Vec::new() };
        Self::new(Answer::Http(Http { body, ..Http::default() }))
    }

    /// The reference body of a state with some fields set (an object; anything else sets none).
    pub fn state_with(state: State, fields: Value) -> Self {
        let set = if let Value::Object(set) = fields { set } else { Map::new() };
        let body = Body::Reference { state, set, unset: Vec::new() };
        Self::new(Answer::Http(Http { body, ..Http::default() }))
    }

    /// 200 with this JSON.
    pub fn json(body: Value) -> Self {
        Self::new(Answer::Http(Http { body: Body::Json(body), ..Http::default() }))
    }

    /// 200 with this text.
    pub fn text(content_type: &str, text: impl Into<String>) -> Self {
        let body = Body::Text { text: text.into(), content_type: content_type.to_owned() };
        Self::new(Answer::Http(Http { body, ..Http::default() }))
    }

    /// With this status, where it is a proper answer.
    pub fn with_status(mut self, status: u16) -> Self {
        if let Answer::Http(http) = &mut self.answer {
            http.status = Some(status);
        }
        self
    }

    /// With one more header, where it is a proper answer.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Answer::Http(http) = &mut self.answer {
            http.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// That many times.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times.max(1);
        self
    }

    /// After a wait.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay.min(LONGEST);
        self
    }

    /// At this place of the SMTP dialogue.
    pub fn at(mut self, stage: Stage) -> Self {
        self.at = Some(stage);
        self
    }

    /// The status as it will be seen; 0 where there is no answer, `normal` where the step leaves it open.
    pub(super) fn answered(&self, normal: u16) -> u16 {
        match &self.answer {
            Answer::Http(http) => http.status.unwrap_or(normal),
            Answer::Redirect(_) => 302,
            Answer::Drip { .. } | Answer::Huge { .. } | Answer::GzipBomb { .. } => 200,
            _ => 0,
        }
    }

    fn clamped(mut self) -> Self {
        self.times = self.times.max(1);
        self.delay = self.delay.min(LONGEST);
        match &mut self.answer {
            Answer::Hang(time) => *time = (*time).min(LONGEST),
            Answer::Huge { bytes, .. } | Answer::GzipBomb { bytes } => *bytes = (*bytes).min(LARGEST),
            Answer::Drip { bytes, every } => {
                *every = (*every).clamp(Duration::from_millis(1), LONGEST);
                *bytes = (*bytes).min((LONGEST.as_millis() / every.as_millis()) as usize);
            }
            _ => {}
        }
        self
    }
}

impl Script {
    /// These steps; the last one repeats. For a destination: see [`Script::then_normal`].
    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = steps.into_iter().take(MOST_STEPS).map(Step::clamped).collect();
        Self { steps, then: Then::RepeatLast }
    }

    /// A whole life that is over `after` its first poll.
    pub fn preset(preset: Preset, after: Duration) -> Self {
        let first = match preset {
            Preset::Flaky => vec![Step::status(429).with_header("retry-after", "1"), Step::status(500)],
            _ => Vec::new(),
        };
        Self { then: Then::Live { preset, after }, ..Self::steps(first) }
    }

    /// Its life takes so much longer.
    pub(super) fn longer(mut self, by: Duration) -> Self {
        if let Then::Live { after, .. } = &mut self.then {
            *after += by;
        }
        self
    }

    /// How long its life takes from its first poll, if it lives one.
    pub(super) fn takes(&self) -> Option<Duration> {
        match self.then {
            Then::Live { after, .. } => Some(after),
            _ => None,
        }
    }

    /// When the steps are used up, a life begins.
    pub fn then_live(mut self, preset: Preset, after: Duration) -> Self {
        self.then = Then::Live { preset, after };
        self
    }

    /// When the steps are used up, all is as if there were no script.
    pub fn then_normal(mut self) -> Self {
        self.then = Then::Normal;
        self
    }

    /// The answer to the next request; none is the normal one.
    pub(super) fn next(&self, cursor: &mut Cursor, now: Timestamp) -> Option<Step> {
        if let Some(step) = self.steps.get(cursor.step) {
            let last = cursor.step + 1 == self.steps.len() && matches!(self.then, Then::RepeatLast);
            cursor.used += u32::from(!last);
            if cursor.used >= step.times && !last {
                (cursor.step, cursor.used) = (cursor.step + 1, 0);
            }
            return Some(step.clone());
        }
        let Then::Live { preset, after } = self.then else { return None };
        let born = *cursor.born.get_or_insert(now);
        let state = preset.state(cursor.lived, until(born, now), after);
        cursor.lived = cursor.lived.saturating_add(1);
        Some(Step::state(state))
    }

    /// The next answer if it belongs to this place of the dialogue; else it waits for its turn.
    pub(super) fn next_at(&self, cursor: &mut Cursor, stage: Stage, default: Stage, now: Timestamp) -> Option<Step> {
        let due = self.steps.get(cursor.step)?.at.unwrap_or(default);
        if due == stage { self.next(cursor, now) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    fn statuses(script: &Script, count: i64) -> Vec<Option<u16>> {
        let mut cursor = Cursor::default();
        (0..count)
            .map(|second| script.next(&mut cursor, from_millis(second * 1000)).map(|step| step.answered(200)))
            .collect()
    }

    fn read(json: &str) -> ScriptForm {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn steps_come_as_often_as_they_say_and_the_last_one_for_ever() {
        let form = read(r#"{"steps":[{"status":500,"repeat":2},{"status":429},{"state":"threat"}]}"#);
        let seen = statuses(&form.for_scan(Duration::ZERO), 5);
        assert_eq!(seen, [Some(500), Some(500), Some(429), Some(200), Some(200)]);
    }

    #[test]
    fn a_destination_is_well_again_after_its_faults() {
        let form = read(r#"{"answers":[{"status":429,"headers":{"Retry-After":2},"repeat":2}]}"#);
        assert_eq!(statuses(&form.for_destination(), 3), [Some(429), Some(429), None]);
    }

    #[test]
    fn a_flaky_scan_is_refused_twice_and_then_lives() {
        assert_eq!(
            statuses(&Script::preset(Preset::Flaky, Duration::from_secs(1)), 4),
            [Some(429), Some(500), Some(200), Some(200)]
        );
    }

    #[test]
    fn what_could_be_endless_is_bounded() {
        let form = read(
            r#"{"steps":[{"hang_ms":99999999},{"special":"huge","bytes":99999999999},
                {"special":"drip","bytes":99999999,"every_ms":0}]}"#,
        );
        let script = form.for_scan(Duration::ZERO);
        assert!(matches!(script.steps[0].answer, Answer::Hang(time) if time == LONGEST));
        assert!(matches!(script.steps[1].answer, Answer::Huge { bytes: LARGEST, declared: true }));
        assert!(matches!(script.steps[2].answer, Answer::Drip { bytes: 600_000, .. }));
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let error = serde_json::from_str::<ScriptForm>(r#"{"steps":[{"staus":500}]}"#).unwrap_err();
        assert!(error.to_string().contains("staus"), "{error}");
    }

    #[test]
    fn a_step_waits_for_its_place_in_the_dialogue() {
        let script = Script::steps([Step::status(450).at(Stage::Dot)]).then_normal();
        let mut cursor = Cursor::default();
        let now = from_millis(0);
        assert!(script.next_at(&mut cursor, Stage::Rcpt, Stage::Rcpt, now).is_none());
        assert!(script.next_at(&mut cursor, Stage::Dot, Stage::Rcpt, now).is_some());
        assert!(script.next_at(&mut cursor, Stage::Dot, Stage::Rcpt, now).is_none());
    }
}
