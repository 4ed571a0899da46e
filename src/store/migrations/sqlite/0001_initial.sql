-- The first schema. Ids are UUIDs (version 7) of 16 bytes, times are milliseconds since 1970.
--
-- A claim puts the end of its lease into due_at and keeps what was there in free_due_at: a row whose lease
-- ran out is simply due again, and one index serves "what is due" and "when is something due".
-- Every index that a step uses leaves out rows that are done with, so that no step slows down as history grows.

CREATE TABLE scans (
    id              BLOB    NOT NULL PRIMARY KEY,
    provider        TEXT    NOT NULL,
    scan_id         TEXT    NOT NULL,
    state           INTEGER NOT NULL,           -- 0 following, 1 finished and not announced, 2 announced
    requested_at    INTEGER NOT NULL,
    deadline_at     INTEGER NOT NULL,
    due_at          INTEGER,                    -- next poll, or end of the lease (0); end of the lease (1); NULL
    free_due_at     INTEGER,                    -- due_at from before the claim
    claim           INTEGER,
    polls           INTEGER NOT NULL DEFAULT 0,
    asks            INTEGER NOT NULL DEFAULT 0, -- rows in asks; 0 is one ask without labels and destinations
    not_found_since INTEGER,
    outcome         TEXT,
    finished_at     INTEGER,
    report          INTEGER                     -- reports.n
) STRICT, WITHOUT ROWID;

CREATE INDEX scans_key ON scans (scan_id, provider);
CREATE INDEX scans_due ON scans (provider, due_at) WHERE state = 0;
CREATE INDEX scans_unannounced ON scans (finished_at) WHERE state = 1;

-- What the requests of one scan asked for; equal asks once.
CREATE TABLE asks (
    scan   BLOB    NOT NULL,
    digest BLOB    NOT NULL,                    -- of ask: says whether it is there already
    number INTEGER NOT NULL,                    -- order of acceptance
    ask    TEXT    NOT NULL,                    -- JSON
    PRIMARY KEY (scan, digest)
) STRICT, WITHOUT ROWID;

-- Apart from scans, so that a poll writes a small row. raw is last: lists do not read its pages.
CREATE TABLE reports (
    n      INTEGER PRIMARY KEY,
    report TEXT NOT NULL,                       -- JSON without raw and labels
    raw    TEXT
) STRICT;

-- Idempotency keys by their digest. n grows with time, so that old ones are found without an index on at.
CREATE TABLE request_keys (
    n    INTEGER PRIMARY KEY,
    key  BLOB    NOT NULL UNIQUE,
    scan BLOB    NOT NULL,
    at   INTEGER NOT NULL
) STRICT;

-- Rendered messages. Deliveries of one scan whose messages are the same share one.
CREATE TABLE bodies (
    n     INTEGER PRIMARY KEY,
    media TEXT NOT NULL,
    body  BLOB NOT NULL
) STRICT;

CREATE TABLE deliveries (
    id               BLOB    NOT NULL PRIMARY KEY,
    scan             BLOB,                      -- one of scan and event
    event            BLOB,
    destination      TEXT    NOT NULL,
    state            INTEGER NOT NULL,          -- 0 pending, 1 delivered, 2 dead, 3 suppressed
    created_at       INTEGER NOT NULL,
    due_at           INTEGER,                   -- next attempt, or end of the lease; NULL unless pending
    free_due_at      INTEGER,                   -- due_at from before the claim
    claim            INTEGER,
    attempts         INTEGER NOT NULL DEFAULT 0,
    charged          INTEGER NOT NULL DEFAULT 0,
    give_up_at       INTEGER,
    reason           TEXT,
    finished_at      INTEGER,
    scan_finished_at INTEGER NOT NULL,
    body             INTEGER NOT NULL           -- bodies.n
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (destination, due_at) WHERE state = 0;
CREATE INDEX deliveries_undelivered ON deliveries (state, destination) WHERE state <> 1;
CREATE INDEX deliveries_scan ON deliveries (scan) WHERE scan IS NOT NULL;
CREATE INDEX deliveries_event ON deliveries (event) WHERE event IS NOT NULL;

CREATE TABLE attempts (
    delivery    BLOB    NOT NULL,
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    verdict     TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    answer      TEXT,
    duration_ms INTEGER NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id     BLOB    NOT NULL PRIMARY KEY,
    at     INTEGER NOT NULL,
    state  INTEGER NOT NULL,                    -- 1 not announced, 2 announced
    due_at INTEGER,                             -- end of the lease
    claim  INTEGER,
    event  TEXT    NOT NULL                     -- JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX events_unannounced ON events (at) WHERE state = 1;

-- Trouble that is not over.
CREATE TABLE open_events (
    key TEXT    NOT NULL PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many rows there are of each kind, kept in the transactions that change them.
CREATE TABLE counters (
    kind  INTEGER NOT NULL,                     -- 0 scans being followed, 1 deliveries
    name  TEXT    NOT NULL,                     -- provider or destination
    state INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, name, state)
) STRICT, WITHOUT ROWID;

-- Written by the probe that asks whether the store can be written.
CREATE TABLE pulse (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    beats INTEGER NOT NULL
) STRICT;

INSERT INTO pulse VALUES (1, 0);
