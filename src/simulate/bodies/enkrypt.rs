//! The bodies of Enkrypt's MCP hub: `/mcp-hub/scan/{job_id}/status` and `/results`.
//!
//! No failure word is documented there; `failed` and `error` are what a client would guess, with `error_message`.

use serde_json::{Value, json};

use super::{HOSTILE, Reference, Seed, Subject};
use crate::simulate::preset::State;
use crate::time::Timestamp;

/// What `/status` says of a job in this state.
pub(in crate::simulate) fn status(state: State, subject: Subject<'_>) -> Reference {
    if state == State::NotFound {
        return not_found();
    }
    let seed = Seed::of(subject.scan_id);
    let tools = tools(state, &seed);
    let scanned: Vec<Value> = tools.iter().map(|name| json!({ "tool_name": name, "scan_status": "success" })).collect();
    let mut body = json!({
        "source_url": format!("https://github.com/{}", repository(state, &seed)),
        "user_email": null,
        "version_or_commit": "main",
        "scan_version": "2.4.0",
        "created_at": when(subject.created),
        "started_at": (state != State::Queued).then(|| when(subject.created)),
        "completed_at": state.is_terminal().then(|| when(subject.now)),
        "source_version": seed.hex().get(..7),
        "total_tools_scanned": scanned.len(),
        "tools_scanned_successfully": scanned.len(),
        "scanned_tools": scanned,
    });
    super::edit_with(&mut body, job(state, &seed, subject));
    Reference { status: 200, headers: mirrored(state, &seed), body }
}

/// What `/results` says of a job in this state: the result is there once it is completed.
pub(in crate::simulate) fn results(state: State, subject: Subject<'_>) -> Reference {
    if state == State::NotFound {
        return not_found();
    }
    let seed = Seed::of(subject.scan_id);
    let mut body = job(state, &seed, subject);
    if state.is_completed() {
        super::edit_with(&mut body, json!({ "complete_result": complete_result(state, &seed) }));
    }
    Reference { status: 200, headers: mirrored(state, &seed), body }
}

fn not_found() -> Reference {
    Reference::new(404, json!({ "error": "Scan job not found" }))
}

/// The fields that both bodies have.
fn job(state: State, seed: &Seed, subject: Subject<'_>) -> Value {
    let hosted = hosted(state, seed);
    json!({
        "job_id": subject.scan_id,
        "job_status": word(state),
        "error_message": error(state),
        "is_official": seed.number(2, 4) == 0,
        "is_private": false,
        "scan_type": if hosted { "hosted" } else { "source" },
        "repo_name": (!hosted).then(|| repository(state, seed)),
        "endpoint_url": hosted.then_some("https://mcp.acme.example/sse"),
        "auth_type": hosted.then_some("bearer"),
        "org_id": null,
        "user_id": null,
        "project_name": null,
        "registry_name": null,
    })
}

const fn word(state: State) -> &'static str {
    match state {
        State::Queued | State::Pending => "initializing",
        State::Extracting | State::Processing => "scanning_tools",
        State::Failed | State::Unsupported => "failed",
        State::Error => "error",
        State::UnknownStatus => "reticulating",
        _ => "completed",
    }
}

const fn error(state: State) -> Option<&'static str> {
    match state {
        State::Failed => Some("Repository could not be cloned: authentication required"),
        State::Error => Some("Internal error while analysing tools"),
        State::Unsupported => Some("No MCP server was found in the repository"),
        _ => None,
    }
}

fn hosted(state: State, seed: &Seed) -> bool {
    state != State::Hostile && seed.number(4, 3) == 0
}

fn repository(state: State, seed: &Seed) -> &'static str {
    if state == State::Hostile {
        return HOSTILE;
    }
    let names = ["acme/mcp-server", "acme/github-tools", "octo/browser-mcp", "data-co/sql-agent", "user/mcp-server"];
    seed.pick(6, &names).unwrap_or("user/mcp-server")
}

fn tools(state: State, seed: &Seed) -> Vec<&'static str> {
    let all = ["read_file", "run_query", "fetch_url", "send_mail", "list_issues", "exec_shell"];
    let count = if matches!(state, State::Queued | State::Pending) { 0 } else { 2 + seed.number(8, 4) };
    all.into_iter().take(count).collect()
}

fn mirrored(state: State, seed: &Seed) -> Vec<(String, String)> {
    let hosted = hosted(state, seed);
    let mut headers = vec![
        ("x-enkrypt-is-official", (seed.number(2, 4) == 0).to_string()),
        ("x-enkrypt-is-private", false.to_string()),
        ("x-enkrypt-scan-type", if hosted { "hosted" } else { "source" }.to_owned()),
    ];
    // What strangers wrote may not be a header at all.
    if !hosted && state != State::Hostile {
        headers.push(("x-enkrypt-repo-name", repository(state, seed).to_owned()));
    }
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn complete_result(state: State, seed: &Seed) -> Value {
    let found = vulnerabilities(state, seed);
    let severity = match state {
        State::NoVerdict => None,
        State::Clean => Some("None"),
        State::Suspicious => Some("Medium"),
        State::Hostile => Some("Critical"),
        _ => seed.pick(10, &["High", "Critical"]),
    };
    let total = (state != State::NoVerdict).then_some(found.len());
    let tools: Vec<Value> =
        tools(state, seed).iter().map(|name| json!({ "tool_name": name, "scan_status": "success" })).collect();
    json!({
        "scan_metadata": { "overall_severity": severity, "total_vulnerabilities": total },
        "tools_scanned": tools,
        "vulnerabilities": found,
    })
}

/// (title, severity, file, line, tool), worst first.
type Row = (&'static str, &'static str, &'static str, u32, &'static str);

const THREATS: [Row; 6] = [
    ("Command injection through tool argument", "Critical", "src/tools/shell.py", 48, "exec_shell"),
    ("Tool description instructs the model to read private keys", "High", "src/server.py", 112, "read_file"),
    ("SQL built from model output", "High", "src/tools/query.ts", 73, "run_query"),
    ("Server-side request forgery in fetch", "Medium", "src/tools/fetch.ts", 31, "fetch_url"),
    ("Secrets written to the log", "Medium", "src/log.py", 9, "send_mail"),
    ("Dependency with a known vulnerability", "Low", "package.json", 22, "list_issues"),
];

fn vulnerabilities(state: State, seed: &Seed) -> Vec<Value> {
    let rows: Vec<Row> = match state {
        State::Threat => THREATS.into_iter().skip(seed.number(12, 2)).take(3 + seed.number(14, 3)).collect(),
        State::Suspicious => THREATS.into_iter().skip(3).take(1 + seed.number(14, 3)).collect(),
        State::Hostile => vec![(HOSTILE, "Critical", HOSTILE, 1, HOSTILE)],
        _ => Vec::new(),
    };
    rows.into_iter()
        .map(|(title, severity, file, line, tool)| {
            json!({
                "title": title, "severity": severity, "location": format!("{file}:{line}"),
                "tool_name": tool, "description": format!("{title} in {file}."),
            })
        })
        .collect()
}

/// As the vendor's pages show it: no zone.
fn when(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    fn subject() -> Subject<'static> {
        Subject { scan_id: "job-7", created: from_millis(0), now: from_millis(0) }
    }

    #[test]
    fn a_result_comes_only_with_a_completed_job_and_counts_what_it_lists() {
        assert_eq!(results(State::Processing, subject()).body.get("complete_result"), None);
        let threat = results(State::Threat, subject()).body;
        let result = &threat["complete_result"];
        let listed = result["vulnerabilities"].as_array().unwrap().len();
        assert!(listed > 0);
        assert_eq!(result["scan_metadata"]["total_vulnerabilities"], listed);
        assert_eq!(
            results(State::Clean, subject()).body["complete_result"]["scan_metadata"]["total_vulnerabilities"],
            0
        );
    }

    #[test]
    fn both_bodies_name_the_job_and_its_status_and_mirror_their_fields_in_headers() {
        for reference in [status(State::Failed, subject()), results(State::Failed, subject())] {
            assert_eq!(reference.body["job_id"], "job-7");
            assert_eq!(reference.body["job_status"], "failed");
            assert!(reference.body["error_message"].is_string());
            assert!(reference.headers.iter().any(|(name, _)| name == "x-enkrypt-scan-type"));
        }
    }
}
