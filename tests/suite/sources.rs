//! Where samples come from, with the real programs: Prometheus that pushes and is asked, the stores that answer as it does
//! (Mimir, Thanos, VictoriaMetrics), Loki, and Jaeger fed by OTLP.
//! Comes in: the programs of `tests/install-parts`; out: what tars found there and what it says about itself. Never: an
//! answer that a test wrote.

mod alone;
mod fleet;
mod gateway;
mod logs;
mod pushed;
mod spans;
mod stores;
mod world;
