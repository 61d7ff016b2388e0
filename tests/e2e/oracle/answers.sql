-- The oracle. Once the business is quiet: the life of every version of every row, and each feature's value in plain SQL.
CREATE INDEX ON audit.wal (n);
CREATE INDEX ON audit.wal (xid);
ANALYZE audit.wal;

-- Transactions in commit order. n: of the commit's line in audit.wal.
CREATE UNLOGGED TABLE audit.transactions AS SELECT n, xid, lsn AS ended FROM audit.wal WHERE kind = 'C';
CREATE UNIQUE INDEX ON audit.transactions (ended);
CREATE UNIQUE INDEX ON audit.transactions (xid);
ANALYZE audit.transactions;

-- The k-th change that the slot shows of a transaction is the k-th that the triggers saw.
CREATE UNLOGGED TABLE audit.decoded AS
SELECT n, lsn, xid, of_table, kind, row_number() OVER (PARTITION BY xid ORDER BY n) AS k
FROM audit.wal WHERE of_table IN ('public.orders', 'public.visits', 'public.readings');

CREATE UNLOGGED TABLE audit.seen AS
SELECT statement, line, xid, op, of_table, row_number() OVER (PARTITION BY xid ORDER BY statement, line) AS k
FROM (
    SELECT statement, line, xid, op, 'public.orders' AS of_table FROM audit.orders
    UNION ALL SELECT statement, line, xid, op, 'public.visits' FROM audit.visits
    UNION ALL SELECT statement, line, xid, op, 'public.readings' FROM audit.readings
) every_change;

-- txn, lsn: what orders rows of one event time. Rows of the first snapshot share one position: (0, 0).
CREATE UNLOGGED TABLE audit.ordered AS
SELECT
    s.statement, s.line, d.n,
    CASE WHEN d.lsn < f.lsn THEN 0 ELSE t.n END AS txn,
    CASE WHEN d.lsn < f.lsn THEN '0/0'::pg_lsn ELSE d.lsn END AS lsn,
    d.of_table = s.of_table AND lower(left(d.kind::text, 1)) = s.op::text AS agrees
FROM audit.seen s
JOIN audit.decoded d USING (xid, k)
JOIN audit.transactions t USING (xid)
CROSS JOIN audit.first_streamed f;
CREATE UNIQUE INDEX ON audit.ordered (statement, line);
ANALYZE audit.ordered;

-- A version of a row lives at the cuts n <= cut < until.
CREATE UNLOGGED TABLE audit.orders_versions AS
SELECT * FROM (
    SELECT *, lead(n, 1, 9223372036854775807) OVER (PARTITION BY row_id ORDER BY n) AS until FROM (
        SELECT o.n, o.txn, o.lsn, a.id AS row_id, true AS there, a.* FROM audit.orders a
        JOIN audit.ordered o USING (statement, line) WHERE a.op IN ('i', 'u')
        UNION ALL
        SELECT o.n, o.txn, o.lsn, a.old_id, false, a.* FROM audit.orders a
        JOIN audit.ordered o USING (statement, line) WHERE a.op = 'd' OR (a.op = 'u' AND a.old_id <> a.id)
    ) changes
) versions WHERE there;
CREATE UNLOGGED TABLE audit.visits_versions AS
SELECT * FROM (
    SELECT *, lead(n, 1, 9223372036854775807) OVER (PARTITION BY row_id ORDER BY n) AS until FROM (
        SELECT o.n, o.txn, o.lsn, a.id AS row_id, true AS there, a.* FROM audit.visits a
        JOIN audit.ordered o USING (statement, line) WHERE a.op IN ('i', 'u')
        UNION ALL
        SELECT o.n, o.txn, o.lsn, a.old_id, false, a.* FROM audit.visits a
        JOIN audit.ordered o USING (statement, line) WHERE a.op = 'd' OR (a.op = 'u' AND a.old_id <> a.id)
    ) changes
) versions WHERE there;
CREATE UNLOGGED TABLE audit.readings_versions AS
SELECT * FROM (
    SELECT *, lead(n, 1, 9223372036854775807) OVER (PARTITION BY row_id ORDER BY n) AS until FROM (
        SELECT o.n, o.txn, o.lsn, a.id AS row_id, true AS there, a.* FROM audit.readings a
        JOIN audit.ordered o USING (statement, line) WHERE a.op IN ('i', 'u')
        UNION ALL
        SELECT o.n, o.txn, o.lsn, a.old_id, false, a.* FROM audit.readings a
        JOIN audit.ordered o USING (statement, line) WHERE a.op = 'd' OR (a.op = 'u' AND a.old_id <> a.id)
    ) changes
) versions WHERE there;

-- A truncate ends every version that lives when it comes.
UPDATE audit.orders_versions v SET until = ended.at FROM (
    SELECT v.ctid AS place, min(o.n) AS at FROM audit.orders_versions v
    JOIN (SELECT o.n FROM audit.orders a JOIN audit.ordered o USING (statement, line) WHERE a.op = 't') o
    ON o.n > v.n AND o.n < v.until GROUP BY 1
) ended WHERE v.ctid = ended.place;
UPDATE audit.visits_versions v SET until = ended.at FROM (
    SELECT v.ctid AS place, min(o.n) AS at FROM audit.visits_versions v
    JOIN (SELECT o.n FROM audit.visits a JOIN audit.ordered o USING (statement, line) WHERE a.op = 't') o
    ON o.n > v.n AND o.n < v.until GROUP BY 1
) ended WHERE v.ctid = ended.place;
UPDATE audit.readings_versions v SET until = ended.at FROM (
    SELECT v.ctid AS place, min(o.n) AS at FROM audit.readings_versions v
    JOIN (SELECT o.n FROM audit.readings a JOIN audit.ordered o USING (statement, line) WHERE a.op = 't') o
    ON o.n > v.n AND o.n < v.until GROUP BY 1
) ended WHERE v.ctid = ended.place;

CREATE INDEX ON audit.orders_versions (customer, placed_at);
CREATE INDEX ON audit.visits_versions (site, visitor, at);
CREATE INDEX ON audit.readings_versions (device, at);
ANALYZE audit.orders_versions;
ANALYZE audit.visits_versions;
ANALYZE audit.readings_versions;

-- The last line of audit.wal that a position covers. A position says: every transaction whose commit ended at or before
-- its first half, and of the next one the changes whose own record stands at or before its second half.
CREATE FUNCTION audit.cut(after_commit pg_lsn, own pg_lsn) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT max(w.n) FROM audit.wal w JOIN (
            SELECT xid FROM audit.transactions WHERE ended > after_commit ORDER BY ended LIMIT 1
        ) next_one USING (xid) WHERE w.kind <> 'C' AND w.lsn <= own),
        (SELECT n FROM audit.transactions WHERE ended <= after_commit ORDER BY ended DESC LIMIT 1),
        0
    )
$$;

CREATE FUNCTION audit.oracle_orders(of_customer bigint, as_of timestamptz, cut bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'orders_1h', count(*) FILTER (WHERE placed_at > as_of - interval '1 hour'),
        'orders_7d', count(*),
        'quantities_7d', count(quantity),
        'express_1d', count(*) FILTER (WHERE express AND placed_at > as_of - interval '1 day'),
        'amount_sum_1d', coalesce(sum(amount) FILTER (WHERE placed_at > as_of - interval '1 day'), 0),
        'amount_mean_7d', avg(amount),
        'amount_min_7d', min(amount),
        'amount_max_1d', coalesce(max(amount) FILTER (WHERE placed_at > as_of - interval '1 day'), -1),
        'amount_std_7d', stddev_samp(amount),
        'express_amount_sum_7d', coalesce(sum(amount) FILTER (WHERE express), 0),
        'quantity_sum_7d', coalesce(sum(quantity), 0),
        'quantity_std_1d', stddev_samp(quantity::numeric) FILTER (WHERE placed_at > as_of - interval '1 day'),
        'channels_7d', count(DISTINCT channel),
        'first_channel_7d', (array_agg(channel ORDER BY placed_at, txn, lsn, id)
            FILTER (WHERE channel IS NOT NULL))[1],
        'last_channel_1d', (array_agg(channel ORDER BY placed_at DESC, txn DESC, lsn DESC, id DESC)
            FILTER (WHERE channel IS NOT NULL AND placed_at > as_of - interval '1 day'))[1],
        'last_amount_7d', (array_agg(amount ORDER BY placed_at DESC, txn DESC, lsn DESC, id DESC)
            FILTER (WHERE amount IS NOT NULL))[1],
        'last_express_quantity_7d', (array_agg(quantity ORDER BY placed_at DESC, txn DESC, lsn DESC, id DESC)
            FILTER (WHERE quantity IS NOT NULL AND express))[1]
    )
    FROM audit.orders_versions
    WHERE customer = of_customer AND placed_at <= as_of AND placed_at > as_of - interval '7 days'
      AND n <= cut AND until > cut
$$;

CREATE FUNCTION audit.oracle_visits(of_site text, of_visitor bigint, as_of timestamp, cut bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'visits_1h', count(*) FILTER (WHERE at > as_of - interval '1 hour'),
        'visits_7d', count(*),
        'ok_visits_1d', count(*) FILTER (WHERE ok AND at > as_of - interval '1 day'),
        'seconds_sum_7d', coalesce(sum(seconds::numeric), 0),
        'seconds_mean_1d', avg(seconds::numeric) FILTER (WHERE at > as_of - interval '1 day'),
        'seconds_min_7d', min(seconds),
        'seconds_max_7d', max(seconds),
        'seconds_std_7d', stddev_samp(seconds::numeric),
        'ok_seconds_mean_7d', avg(seconds::numeric) FILTER (WHERE ok),
        'cost_sum_7d', coalesce(sum(cost), 0),
        'costs_7d', count(DISTINCT cost),
        'pages_7d', count(DISTINCT page),
        'first_page_1d', (array_agg(page ORDER BY at, txn, lsn, id)
            FILTER (WHERE page IS NOT NULL AND at > as_of - interval '1 day'))[1],
        'last_page_7d', (array_agg(page ORDER BY at DESC, txn DESC, lsn DESC, id DESC)
            FILTER (WHERE page IS NOT NULL))[1],
        'last_ok_7d', (array_agg(ok ORDER BY at DESC, txn DESC, lsn DESC, id DESC) FILTER (WHERE ok IS NOT NULL))[1]
    )
    FROM audit.visits_versions
    WHERE site = of_site AND visitor = of_visitor AND at <= as_of AND at > as_of - interval '7 days'
      AND n <= cut AND until > cut
$$;

CREATE FUNCTION audit.oracle_readings(of_device text, as_of timestamptz, cut bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'readings_1h', count(*) FILTER (WHERE at > as_of - interval '1 hour'),
        'readings_7d', count(*),
        'faults_7d', count(*) FILTER (WHERE fault),
        'value_sum_1h', coalesce(sum(value) FILTER (WHERE at > as_of - interval '1 hour'), 0),
        'value_mean_7d', avg(value),
        'value_min_1d', min(value) FILTER (WHERE at > as_of - interval '1 day'),
        'value_max_7d', max(value),
        'value_std_7d', stddev_samp(value),
        'first_value_1d', (array_agg(value ORDER BY at, txn, lsn, id)
            FILTER (WHERE value IS NOT NULL AND at > as_of - interval '1 day'))[1],
        'code_max_7d', max(code),
        'code_mean_7d', avg(code),
        'codes_7d', count(DISTINCT code),
        'last_code_7d', (array_agg(code ORDER BY at DESC, txn DESC, lsn DESC, id DESC)
            FILTER (WHERE code IS NOT NULL))[1],
        'note_min_7d', min(note COLLATE "C"),
        'note_max_1d', max(note COLLATE "C") FILTER (WHERE at > as_of - interval '1 day'),
        'last_fault_value_7d', (array_agg(value ORDER BY at DESC, txn DESC, lsn DESC, id DESC)
            FILTER (WHERE value IS NOT NULL AND fault))[1]
    )
    FROM audit.readings_versions
    WHERE device = of_device AND at <= as_of AND at > as_of - interval '7 days' AND n <= cut AND until > cut
$$;
