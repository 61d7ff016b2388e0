-- The sample business database of card_fraud. Nothing in it is ours: it stands for what a bank has.
CREATE TABLE IF NOT EXISTS public.customers (
    customer_id bigint PRIMARY KEY,
    home_x double precision,
    home_y double precision
);
CREATE TABLE IF NOT EXISTS public.terminals (
    terminal_id bigint PRIMARY KEY,
    x double precision,
    y double precision
);
CREATE TABLE IF NOT EXISTS public.transactions (
    transaction_id bigint PRIMARY KEY,
    tx_datetime timestamptz NOT NULL,
    customer_id bigint NOT NULL,
    terminal_id bigint NOT NULL,
    tx_amount numeric(12, 2) NOT NULL
);
-- What investigators found out, known only from labelled_at on.
CREATE TABLE IF NOT EXISTS public.transaction_labels (
    transaction_id bigint PRIMARY KEY,
    terminal_id bigint NOT NULL,
    is_fraud integer NOT NULL CHECK (is_fraud IN (0, 1)),
    labelled_at timestamptz NOT NULL
);
