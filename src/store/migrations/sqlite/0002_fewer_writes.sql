-- What a finished scan writes, made less.

DROP INDEX scans_due;
DROP INDEX deliveries_due;
DROP INDEX deliveries_undelivered;

-- One daemon works on a file, so its leases are kept in its memory and not in rows: a claim writes nothing.
-- due_at is from now on the next poll or attempt itself.
UPDATE scans SET due_at = coalesce(free_due_at, due_at) WHERE state = 0;
UPDATE scans SET due_at = NULL WHERE state <> 0;
UPDATE deliveries SET due_at = coalesce(free_due_at, due_at) WHERE state = 0;

ALTER TABLE scans DROP COLUMN free_due_at;
ALTER TABLE scans DROP COLUMN claim;
ALTER TABLE deliveries DROP COLUMN free_due_at;
ALTER TABLE deliveries DROP COLUMN claim;
ALTER TABLE events DROP COLUMN due_at;
ALTER TABLE events DROP COLUMN claim;

-- An attempt that delivers is kept in its delivery's row: most have no other. NULL where it is in attempts.
ALTER TABLE deliveries ADD COLUMN duration_ms INTEGER;
ALTER TABLE deliveries ADD COLUMN answer TEXT;

CREATE INDEX scans_due ON scans (provider, due_at) WHERE state = 0;
CREATE INDEX deliveries_due ON deliveries (destination, due_at) WHERE state = 0;
-- A delivery that succeeds is never in it; what is pending is found by deliveries_due.
CREATE INDEX deliveries_failed ON deliveries (state, destination) WHERE state > 1;
