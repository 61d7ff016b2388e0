"""The sample data of card_fraud: made by a generator, or from a file of payments."""

from __future__ import annotations

from pathlib import Path

from feature_repo.card_fraud.sample import tables
from feature_repo.card_fraud.sample.generator import Parameters, generate
from feature_repo.sample_data import Sample, SampleSource

_SMALL = Parameters(
    days=70, customers=250, terminals=500, seed=7, terminals_compromised_per_day=0.15, cards_compromised_per_day=0.5
)


def _default() -> Sample:
    return tables.from_generated(generate(Parameters()))


def _small() -> Sample:
    return tables.from_generated(generate(_SMALL))


SAMPLE = SampleSource(
    version=1,
    schema_sql=Path(__file__).with_name("schema.sql"),
    profiles={"default": _default, "small": _small},
    from_file=tables.from_file,
)
