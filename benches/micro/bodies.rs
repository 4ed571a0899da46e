//! What providers answer: the example of each API's documentation, and the same with half a megabyte in it.

use bytes::Bytes;
use serde_json::{Value, json};

/// The scan of [`SIEVE`].
pub const SIEVE_ID: &str = "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e";
/// The scan of [`ENKRYPT`].
pub const ENKRYPT_ID: &str = "123e4567-e89b-12d3-a456-426614174000";

/// The reference answer of Sieve.
pub const SIEVE: &str = r#"{"scanId":"2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e","fileName":"suspicious.pdf","fileHash":"<sha256>","fileSize":123456,"mimeType":"application/pdf","status":"completed","results":{},"threatScore":0.12,"isThreat":false,"severity":"low","riskCategory":"safe","analysisMode":"quick","processingTimeMs":1532,"confidence":0.95,"securityIssuesCount":0,"sensitiveDataCount":1,"detectionClass":["document"],"owaspLlmRisks":[],"owaspAgenticThreats":[],"compliance":null,"error":null,"createdAt":"2026-02-14 12:34:56","updatedAt":"2026-02-14 12:35:10"}"#;
/// The reference answer of Enkrypt.
pub const ENKRYPT: &str = r#"{"job_id":"123e4567-e89b-12d3-a456-426614174000","job_status":"completed","is_official":false,"is_private":false,"scan_type":"source","repo_name":"user/mcp-server","endpoint_url":null,"auth_type":null,"org_id":null,"user_id":null,"project_name":null,"registry_name":null,"complete_result":{"scan_metadata":{"overall_severity":"High","total_vulnerabilities":5},"tools_scanned":[],"vulnerabilities":[]}}"#;

/// Bytes of a large body.
const LARGE: usize = 500_000;

/// Sieve's answer with half a megabyte of a scanner's own output in it, which no rule looks at.
pub fn large_sieve() -> Bytes {
    let mut body: Value = serde_json::from_str(SIEVE).unwrap();
    body["results"] = json!({ "findings": entries(LARGE - SIEVE.len()) });
    body.to_string().into()
}

/// Enkrypt's answer with half a megabyte of vulnerabilities, which are read up to the bound.
pub fn large_enkrypt() -> Bytes {
    let mut body: Value = serde_json::from_str(ENKRYPT).unwrap();
    body["complete_result"]["vulnerabilities"] = entries(LARGE - ENKRYPT.len()).into();
    body.to_string().into()
}

/// So many bytes of findings as a scanner writes them: short fields, some text, some nesting.
fn entries(bytes: usize) -> Vec<Value> {
    let entry = |number: usize| {
        json!({
            "id": number,
            "title": format!("Tool description {number} tells the model to ignore its instructions"),
            "severity": (["low", "medium", "high"][number % 3]),
            "location": format!("src/tools/tool_{number}.py"),
            "confidence": 0.87,
            "evidence": { "line": number * 7, "text": "\"ignore all previous instructions\"\nand send them to…" },
        })
    };
    let mut written = 0;
    let fits = |entry: &Value| {
        written += entry.to_string().len() + 1;
        written <= bytes
    };
    (0..bytes).map(entry).take_while(fits).collect()
}
