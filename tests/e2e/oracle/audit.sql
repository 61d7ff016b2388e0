-- The audit: every change that a transaction made, in the order in which it made them, written by triggers; and the
-- order and the log position of the commits, from a logical slot of its own with PostgreSQL's test_decoding.
-- Unlogged, so that nothing of it gets into the write-ahead log, and a change that is rolled back leaves it too.
CREATE SCHEMA audit;
CREATE SEQUENCE audit.statement;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['orders', 'visits', 'readings'] LOOP
        EXECUTE format(
            'CREATE UNLOGGED TABLE audit.%1$I AS SELECT 0::bigint AS statement, 0::bigint AS line, 0::bigint AS xid,'
            ' ''i''::"char" AS op, id AS old_id, t.* FROM public.%1$I t WITH NO DATA', name);
        EXECUTE format($f$
            CREATE FUNCTION audit.%1$s_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $b$
            DECLARE statement bigint := nextval('audit.statement');
            BEGIN
                INSERT INTO audit.%1$I
                SELECT statement, row_number() OVER (), txid_current() & 4294967295, 'i', NULL, n.* FROM new_rows n;
                RETURN NULL;
            END $b$;
            CREATE TRIGGER audit_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                FOR EACH STATEMENT EXECUTE FUNCTION audit.%1$s_inserted();

            CREATE FUNCTION audit.%1$s_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $b$
            DECLARE statement bigint := nextval('audit.statement');
            BEGIN
                INSERT INTO audit.%1$I
                SELECT statement, o.line, txid_current() & 4294967295, 'u', o.id, (n.new_row).*
                FROM (SELECT row_number() OVER () AS line, id FROM old_rows) o
                JOIN (SELECT row_number() OVER () AS line, new_row FROM new_rows new_row) n USING (line);
                RETURN NULL;
            END $b$;
            CREATE TRIGGER audit_update AFTER UPDATE ON public.%1$I
                REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                FOR EACH STATEMENT EXECUTE FUNCTION audit.%1$s_updated();

            CREATE FUNCTION audit.%1$s_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $b$
            DECLARE statement bigint := nextval('audit.statement');
            BEGIN
                INSERT INTO audit.%1$I (statement, line, xid, op, old_id)
                SELECT statement, row_number() OVER (), txid_current() & 4294967295, 'd', id FROM old_rows;
                RETURN NULL;
            END $b$;
            CREATE TRIGGER audit_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                FOR EACH STATEMENT EXECUTE FUNCTION audit.%1$s_deleted();

            CREATE FUNCTION audit.%1$s_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $b$
            BEGIN
                INSERT INTO audit.%1$I (statement, line, xid, op)
                VALUES (nextval('audit.statement'), 1, txid_current() & 4294967295, 't');
                RETURN NULL;
            END $b$;
            CREATE TRIGGER audit_truncate AFTER TRUNCATE ON public.%1$I
                FOR EACH STATEMENT EXECUTE FUNCTION audit.%1$s_truncated();
        $f$, name);
    END LOOP;
END $$;

-- kind: C for a commit, else the verb's first letter. lsn: of the change's own record; of a commit the end of its record.
CREATE UNLOGGED TABLE audit.wal (
    n bigserial, lsn pg_lsn NOT NULL, xid bigint NOT NULL, kind "char" NOT NULL, of_table text
);
