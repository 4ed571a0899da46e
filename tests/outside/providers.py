"""The two reference scan APIs, written from their documentation: Sieve and the Enkrypt MCP hub."""
from __future__ import annotations

import threading
import uuid
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import unquote

from .receivers import Answer, HttpServer, Received, json_answer

#: One answer of a scan; the last of a list is repeated for ever.
Step = Callable[[str], Answer]


class ScanApi(HttpServer):
    """What both have in common: a key in a header, and a list of answers per scan."""

    key_header = ""

    def __init__(self, key: str) -> None:
        self.key = key
        self._plans: Dict[str, List[Step]] = {}
        self._plans_lock = threading.Lock()
        super().__init__(self._answer)

    def _answer(self, request: Received) -> Answer:
        if request.headers.get(self.key_header) != self.key:
            return json_answer({"error": "invalid key"}, 401)
        return self.answer_authorised(request)

    def answer_authorised(self, request: Received) -> Answer:
        """Answers a request that carries the right key."""
        raise NotImplementedError

    def follow(self, steps: List[Step], scan_id: Optional[str] = None) -> str:
        """Plans the answers of a scan; gives its ID."""
        scan_id = scan_id or str(uuid.uuid4())
        with self._plans_lock:
            self._plans[scan_id] = list(steps)
        return scan_id

    def next_step(self, scan_id: str) -> Optional[Step]:
        """The step that is due; none if the scan is not known."""
        with self._plans_lock:
            steps = self._plans.get(scan_id)
            if not steps:
                return None
            return steps.pop(0) if len(steps) > 1 else steps[0]

    def polls_of(self, scan_id: str) -> int:
        """How often the scan was asked for."""
        return sum(1 for request in self.received() if scan_id in unquote(request.path))


class Sieve(ScanApi):
    """`GET /api/scans/:scanId` with `X-API-Key`: status and verdict in one answer."""

    key_header = "x-api-key"

    def answer_authorised(self, request: Received) -> Answer:
        """404 for what is not known."""
        scan_id = request.path.rpartition("/")[2]
        step = self.next_step(scan_id) if request.path == f"/api/scans/{scan_id}" else None
        return step(scan_id) if step else json_answer({"error": "scan not found"}, 404)

    def scan(self, before: int = 1, **fields: Any) -> str:
        """A scan that is `processing` for some polls and then completed with these fields."""
        return self.follow([sieve_is("processing")] * before + [sieve_is("completed", **fields)])


def sieve_body(scan_id: str, **fields: Any) -> Dict[str, Any]:
    """The reference response with some fields replaced."""
    body: Dict[str, Any] = {
        "scanId": scan_id, "fileName": "suspicious.pdf", "fileHash": "9f86d081884c7d659a2feaa0c55ad015" * 2,
        "fileSize": 123456, "mimeType": "application/pdf", "status": "completed", "results": {},
        "threatScore": 0.12, "isThreat": False, "severity": "low", "riskCategory": "safe", "analysisMode": "quick",
        "processingTimeMs": 1532, "confidence": 0.95, "securityIssuesCount": 0, "sensitiveDataCount": 1,
        "detectionClass": ["document"], "owaspLlmRisks": [], "owaspAgenticThreats": [], "compliance": None,
        "error": None, "createdAt": "2026-02-14 12:34:56", "updatedAt": "2026-02-14 12:35:10",
    }
    return {**body, **fields}


#: What Sieve says of a file that is a threat.
THREAT: Dict[str, Any] = {
    "threatScore": 0.93, "isThreat": True, "severity": "high", "riskCategory": "malicious",
    "securityIssuesCount": 5, "owaspLlmRisks": ["LLM01"], "owaspAgenticThreats": ["ASI02"],
}

_NOT_YET = ("threatScore", "isThreat", "severity", "riskCategory", "confidence", "securityIssuesCount",
            "sensitiveDataCount", "results", "analysisMode", "processingTimeMs")


def sieve_is(status: str, **fields: Any) -> Step:
    """Sieve says this status; what it cannot know yet is null."""
    unknown: Dict[str, Any] = {} if status == "completed" else {name: None for name in _NOT_YET}
    return lambda scan_id: json_answer(sieve_body(scan_id, status=status, **{**unknown, **fields}))


def always(answer: Answer) -> Step:
    """The same answer whatever the scan."""
    return lambda _: answer


class Enkrypt(ScanApi):
    """`GET /mcp-hub/scan/{job_id}/status` and `…/results` with `apikey`.

    One list of steps serves both paths: scanbell may look through either.
    """

    key_header = "apikey"

    def answer_authorised(self, request: Received) -> Answer:
        """404 for what is not known."""
        parts = request.path.strip("/").split("/")
        if len(parts) != 4 or parts[:2] != ["mcp-hub", "scan"] or parts[3] not in ("status", "results"):
            return json_answer({"error": "no such page"}, 404)
        step = self.next_step(parts[2])
        return step(parts[2]) if step else json_answer({"error": "job not found"}, 404)

    def job(self, *before: Step, **fields: Any) -> str:
        """A job that answers `before` and then its results."""
        return self.follow([*before, lambda job_id: json_answer(enkrypt_body(job_id, **fields))])


def enkrypt_body(job_id: str, severity: Any = "High", total: Any = 5, **fields: Any) -> Dict[str, Any]:
    """The reference response with some fields replaced."""
    body: Dict[str, Any] = {
        "job_id": job_id, "job_status": "completed", "is_official": False, "is_private": False,
        "scan_type": "source", "repo_name": "user/mcp-server", "endpoint_url": None, "auth_type": None,
        "org_id": None, "user_id": None, "project_name": None, "registry_name": None, "error_message": None,
        "complete_result": {
            "scan_metadata": {"overall_severity": severity, "total_vulnerabilities": total},
            "tools_scanned": [], "vulnerabilities": [],
        },
    }
    return {**body, **fields}


def enkrypt_is(status: str) -> Step:
    """A job that has no result yet."""
    return lambda job_id: json_answer({"job_id": job_id, "job_status": status, "error_message": None})
