//! From the TOML of a profile to the [`Profile`]: requests, HTTP statuses, pace, limits.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;
use toml::de::DeValue;
use url::Url;

use super::read_rule::{ready_rules, statuses};
use super::reader::{File, Item, Table};
use super::{Auth, HttpMap, IdRule, PaceDefaults, Profile, ReadyRule, ResultStep, Step, StepUrl, read_report};
use crate::egress::Limits;
use crate::problem::Problems;
use crate::provider::rule::Pointer;
use crate::time::Span;

/// The nil UUID: well formed, and nobody's.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

pub(super) fn profile(name: &str, file: &str, text: &str) -> Result<Profile, Problems> {
    let file = File::new(file, text);
    let profile = file.parse().and_then(|root| {
        let root = Table::root(&file, &root);
        let profile = read(name, &root);
        root.close();
        profile
    });
    let problems = file.into_problems();
    match profile {
        Some(profile) => problems.into_result(profile),
        None => Err(problems),
    }
}

/// `None` only after a problem was noted.
fn read(name: &str, root: &Table<'_, '_>) -> Option<Profile> {
    let id = root.need("id").and_then(|item| id_rule(&item));
    let probe_id = root.get("probe_id").and_then(|item| item.text()).map(str::to_owned);
    let ready = root.get("ready").map(|item| ready_rules(&item)).unwrap_or_default();
    let request = section(root, "request").and_then(|table| step(table, &ready).map(|(step, _)| step));
    if !root.has(&["request"]) {
        root.problem("the table [request] is missing", Some("[request]\n    url = \"/scans/{id}\"".to_owned()));
    }
    let result = section(root, "result").and_then(|table| step(table, &ready));
    if request.as_ref().is_some_and(|request| request.ready.is_empty()) {
        let hint = "ready = [{ at = \"/status\", in = [\"completed\"], means = \"ok\" }]";
        root.problem("`ready` has no rules: no scan would ever be finished", Some(hint.to_owned()));
    }
    let base_url = root.get("base_url").and_then(|item| item.parse(base_url));
    let auth = section(root, "auth").and_then(auth);
    let headers = section(root, "headers").map(|table| headers(&table)).unwrap_or_default();
    let echo_id = root.get("echo_id").and_then(|item| item.parse(Pointer::parse));
    let status = root.get("status").and_then(|item| item.parse(Pointer::parse));
    let human_link = root.get("human_link").and_then(|item| item.parse(link));
    let http = section(root, "http").map_or_else(HttpMap::default, http_map);
    let poll = section(root, "poll").map(pace).unwrap_or_default();
    let (limits, sizes) = section(root, "limits").map(limits).unwrap_or_default();
    let reading = read_report::reading(root);
    let id = id?;
    Some(Profile {
        name: name.to_owned(),
        base_url,
        auth,
        headers,
        probe_id: probe_id.or_else(|| matches!(id, IdRule::Uuid).then(|| NIL.to_owned())),
        id,
        echo_id,
        status,
        request: request?,
        result: result.map(|(step, when_not_found)| ResultStep { step, when_not_found }),
        http,
        reading,
        human_link,
        poll,
        limits,
        max_body: sizes.max_body,
        connect_timeout: sizes.connect_timeout,
        total_timeout: sizes.total_timeout,
    })
}

fn section<'a, 's>(root: &Table<'a, 's>, key: &'static str) -> Option<Table<'a, 's>> {
    root.get(key).and_then(|item| item.table())
}

/// `"uuid"`, or `{ pattern = "…", max_length = 128 }`.
fn id_rule(item: &Item<'_, '_>) -> Option<IdRule> {
    if let DeValue::String(word) = item.value() {
        if word == "uuid" {
            return Some(IdRule::Uuid);
        }
        item.problem(
            format!("`id` is `{word}`, which is no rule"),
            Some("write \"uuid\" or { pattern = \"[a-z0-9]+\", max_length = 64 }".to_owned()),
        );
        return None;
    }
    let table = item.table()?;
    let max = table.get("max_length").map_or(Some(128), |item| item.whole(1, super::id::MAX_LENGTH as u32))?;
    let rule = table.need("pattern").and_then(|item| item.parse(|text| IdRule::pattern(text, max as usize)));
    table.close();
    rule
}

/// A step, and whether it is made after "not found" too.
fn step(table: Table<'_, '_>, default_ready: &[ReadyRule]) -> Option<(Step, bool)> {
    let method = table.get("method").map_or(Some(Method::GET), |item| item.parse(method));
    let path = table.get("url").and_then(|item| item.parse(path)).map(StepUrl::Path);
    let captured = table.get("url_at").and_then(|item| item.parse(Pointer::parse)).map(StepUrl::Captured);
    if !table.has(&["url", "url_at"]) {
        table.problem("`url` is missing", Some("write the path below base_url: \"/scans/{id}\"".to_owned()));
    }
    let content_type = table.get("content_type").and_then(|item| item.text()).unwrap_or("application/json");
    let body = table.get("body").and_then(|item| item.text());
    let ready = table.get("ready").map_or_else(|| default_ready.to_vec(), |item| ready_rules(&item));
    let when_not_found = table.get("when_not_found").and_then(|item| item.boolean()).unwrap_or(false);
    table.close();
    let body = body.map(|body| (body.to_owned(), content_type.to_owned()));
    Some((Step { method: method?, url: path.or(captured)?, body, ready }, when_not_found))
}

fn method(word: &str) -> Result<Method, String> {
    match word {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        _ => Err(format!("`{word}` is not a method of a poll; known: GET, POST")),
    }
}

/// A path below the base URL, with no other hole than `{id}`.
fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.starts_with("//") {
        return Err(format!("`{text}` must begin with one `/`: it is a path below base_url"));
    }
    only_id(text)?;
    Ok(text.to_owned())
}

/// Says which `{hole}` nobody fills.
fn only_id(text: &str) -> Result<(), String> {
    let rest = text.replace("{id}", "");
    match rest.split_once('{') {
        Some((_, hole)) => {
            let name = hole.split('}').next().unwrap_or(hole);
            Err(format!("nothing fills `{{{name}}}`; only `{{id}}` is known here"))
        }
        None => Ok(()),
    }
}

fn link(text: &str) -> Result<String, String> {
    only_id(text)?;
    match Url::parse(&text.replace("{id}", "x")) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => Ok(text.to_owned()),
        _ => Err("a link begins with https://".to_owned()),
    }
}

/// Where an API is: http(s), without a credential, query or fragment.
pub(in crate::provider) fn base_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("not a URL ({error}); write it like https://api.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("must begin with https:// (or http://)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or password; the key belongs into api_key_file".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end before `?` and `#`; the profile says what comes after".to_owned());
    }
    Ok(url)
}

fn auth(table: Table<'_, '_>) -> Option<Auth> {
    let header = table.need("header").and_then(|item| item.parse(header_name));
    let value = table.need("value").and_then(|item| {
        item.parse(|text| {
            let filled = text.contains("{secret}");
            filled.then(|| text.to_owned()).ok_or("must contain `{secret}`, where the key goes")
        })
    });
    table.close();
    Some(Auth { header: header?, value: value? })
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not the name of a header"))
}

fn header_value(text: &str) -> Result<String, String> {
    if !text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return Err("a header's value is printable ASCII".to_owned());
    }
    only_id(text).map(|()| text.to_owned())
}

fn headers(table: &Table<'_, '_>) -> Vec<(HeaderName, String)> {
    let read = |item: Item<'_, '_>| {
        let name = header_name(item.key).map_err(|error| item.problem(error, None)).ok()?;
        let value = item.parse(header_value)?;
        Some((name, value))
    };
    table.entries().into_iter().filter_map(read).collect()
}

impl Default for HttpMap {
    fn default() -> Self {
        Self { pending: vec![202], auth: vec![401, 403], not_found: vec![404], gone: vec![410] }
    }
}

fn http_map(table: Table<'_, '_>) -> HttpMap {
    let mut map = HttpMap::default();
    let lists = [
        ("pending", &mut map.pending),
        ("auth", &mut map.auth),
        ("not_found", &mut map.not_found),
        ("gone", &mut map.gone),
    ];
    for (key, list) in lists {
        if let Some(item) = table.get(key) {
            *list = statuses(&item);
        }
    }
    table.close();
    map
}

fn pace(table: Table<'_, '_>) -> PaceDefaults {
    let span = |key| table.get(key).and_then(|item| item.parse(Span::parse)).map(|span| span.0);
    let pace = PaceDefaults {
        first: span("first"),
        growth: table.get("growth").and_then(|item| item.number()),
        max: span("max"),
        deadline: span("deadline"),
        not_found_grace: span("not_found_grace"),
    };
    if pace.growth.is_some_and(|growth| !(1.0..=100.0).contains(&growth)) {
        table.problem("`growth` must be from 1 to 100", None);
    }
    table.close();
    pace
}

struct Sizes {
    max_body: usize,
    connect_timeout: Duration,
    total_timeout: Duration,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            max_body: 2 * 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
        }
    }
}

fn limits(table: Table<'_, '_>) -> (Limits, Sizes) {
    let mut sizes = Sizes::default();
    let span = |key| table.get(key).and_then(|item| item.parse(Span::parse)).map(|span| span.0);
    let limits = Limits {
        concurrency: table.get("concurrency").and_then(|item| item.whole(1, 10_000)),
        requests_per_second: table.get("requests_per_second").and_then(|item| item.number()),
    };
    if limits.requests_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        table.problem("`requests_per_second` must be more than 0", None);
    }
    sizes.connect_timeout = span("connect_timeout").unwrap_or(sizes.connect_timeout);
    sizes.total_timeout = span("total_timeout").unwrap_or(sizes.total_timeout);
    if let Some(size) = table.get("max_body").and_then(|item| item.parse(str::parse::<bytesize::ByteSize>)) {
        sizes.max_body = size.as_u64().clamp(1024, 64 * 1024 * 1024) as usize;
    }
    table.close();
    (limits, sizes)
}
