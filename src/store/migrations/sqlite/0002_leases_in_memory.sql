-- One daemon works on a file, so its leases are kept in its memory and not in rows: a claim writes nothing.
-- due_at is from now on the next poll or attempt itself.

DROP INDEX scans_due;
DROP INDEX deliveries_due;

UPDATE scans SET due_at = coalesce(free_due_at, due_at) WHERE state = 0;
UPDATE scans SET due_at = NULL WHERE state <> 0;
UPDATE deliveries SET due_at = coalesce(free_due_at, due_at) WHERE state = 0;

ALTER TABLE scans DROP COLUMN free_due_at;
ALTER TABLE scans DROP COLUMN claim;
ALTER TABLE deliveries DROP COLUMN free_due_at;
ALTER TABLE deliveries DROP COLUMN claim;
ALTER TABLE events DROP COLUMN due_at;
ALTER TABLE events DROP COLUMN claim;

CREATE INDEX scans_due ON scans (provider, due_at) WHERE state = 0;
CREATE INDEX deliveries_due ON deliveries (destination, due_at) WHERE state = 0;
