-- The business's tables. Nothing here knows that anybody looks.
CREATE TABLE public.orders (
    id bigint PRIMARY KEY,
    customer bigint NOT NULL,
    placed_at timestamptz NOT NULL,
    amount numeric(14, 2),
    quantity bigint,
    channel text,
    express boolean
);
CREATE TABLE public.visits (
    id text PRIMARY KEY,
    site text NOT NULL,
    visitor bigint NOT NULL,
    at timestamp NOT NULL,
    seconds double precision,
    page text,
    ok boolean,
    cost numeric(18, 4) NOT NULL
);
CREATE TABLE public.readings (
    id bigint PRIMARY KEY,
    device text NOT NULL,
    at timestamptz NOT NULL,
    value numeric(12, 3),
    code bigint,
    fault boolean,
    note text
);
