//! What Slack's answers mean: one word of plain text from an incoming webhook, JSON from the Web API.

use serde::Deserialize;

use crate::domain::delivery::{Reason, Verdict, verdict_of_http, waits};
use crate::egress::{Answer, retry_after};
use crate::time::Timestamp;

/// An incoming webhook answers with a status and one word of plain text.
pub(super) fn webhook_verdict(answer: &Answer, now: Timestamp) -> Verdict {
    let asked = retry_after(&answer.headers, now);
    let by_status = verdict_of_http(answer.status, asked);
    let word = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
    match by_status {
        Verdict::Retry { after: None, .. } if is_for_good(word) => Verdict::Reject { reason: Reason::Rejected },
        verdict => verdict,
    }
}

/// What the Web API says in its JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    pub(super) ok: bool,
    pub(super) error: String,
}

/// The Web API answers 200 with `{"ok":…}` whatever it thinks.
pub(super) fn said_by_api(answer: &Answer) -> Option<Said> {
    match serde_json::from_slice::<serde_json::Value>(&answer.body) {
        Ok(value) => value.get("ok").is_some().then(|| serde_json::from_value(value).ok()).flatten(),
        Err(_) if answer.cut && answer.body.starts_with(b"{\"ok\":true,") => {
            Some(Said { ok: true, error: String::new() })
        }
        Err(_) => None,
    }
}

pub(super) fn bot_verdict(answer: &Answer, now: Timestamp) -> Verdict {
    let after = retry_after(&answer.headers, now);
    if !(200..300).contains(&answer.status) {
        return verdict_of_http(answer.status, after);
    }
    let reason = match said_by_api(answer) {
        None => Reason::BadAnswer,
        Some(Said { ok: true, .. }) => return Verdict::OK,
        Some(Said { error, .. }) if after.is_none() && is_for_good(&error) => {
            return Verdict::Reject { reason: Reason::Rejected };
        }
        Some(Said { error, .. }) => reason_of(&error),
    };
    Verdict::Retry { reason, after: waits(after) }
}

/// Words that say of this very message or channel that it will never be taken.
fn is_for_good(word: &str) -> bool {
    matches!(
        word,
        "invalid_payload"
            | "no_text"
            | "msg_too_long"
            | "msg_blocks_too_long"
            | "too_many_attachments"
            | "invalid_blocks"
            | "invalid_blocks_format"
            | "invalid_attachments"
            | "invalid_arguments"
            | "invalid_charset"
            | "invalid_json"
            | "json_not_object"
            | "channel_not_found"
            | "channel_is_archived"
            | "is_archived"
            | "user_not_found"
            | "no_service"
            | "no_service_id"
            | "no_active_hooks"
            | "no_team"
    )
}

/// Why the Web API wants it tried again; a word nobody knows is one that people may mend.
fn reason_of(word: &str) -> Reason {
    match word {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => Reason::RateLimited,
        "invalid_auth"
        | "not_authed"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "missing_scope"
        | "no_permission"
        | "not_allowed_token_type"
        | "org_login_required"
        | "ekm_access_denied"
        | "access_denied"
        | "team_access_not_granted"
        | "two_factor_setup_required" => Reason::Unauthorized,
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "team_added_to_org" => {
            Reason::ServerError
        }
        _ => Reason::ClientError,
    }
}
